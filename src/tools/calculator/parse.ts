import { CapstanError } from "../../core/error.ts";
import type { Fraction } from "./fraction.ts";
import { maxDigits, toFraction } from "./fraction.ts";

/** The syntax tree of an expression. `at` is the place of the operator or name, counted in characters from 0. */
export type Tree =
  | { readonly type: "number"; readonly value: Fraction }
  | { readonly type: "constant"; readonly name: string; readonly at: number }
  | { readonly type: "call"; readonly name: string; readonly args: readonly Tree[]; readonly at: number }
  | { readonly type: "negate"; readonly of: Tree }
  | { readonly type: "factorial"; readonly of: Tree }
  | { readonly type: "binary"; readonly operator: BinaryOperator; readonly left: Tree; readonly right: Tree };
export type BinaryOperator = "+" | "-" | "*" | "/" | "%" | "^";

/** Characters of an expression. It also bounds the nodes of its tree, and so the steps of an evaluation. */
const maxLength = 2_000;
/** Parentheses, signs and powers within each other: far from the end of the stack. */
const maxDepth = 100;

interface Token {
  readonly type: "number" | "name" | "symbol" | "end";
  readonly text: string;
  readonly at: number;
}

/** What people type and paste for the operators. */
const spellings: Readonly<Record<string, string>> = { "×": "*", "·": "*", "÷": "/", "−": "-", "**": "^" };

const tokenPattern =
  /\s*(?:(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)|([a-z_][a-z_0-9]*)|(\*\*|[-+*/%^!(),×·÷−]))/iy;

/**
 * Parses an expression. From weakest to strongest: `+ -`, `* / %`, a sign, `^` (from the right), `!`. So `-2^2` is -4 and `2^-1` is a
 * half. Throws `calculator.syntax` with the place, `calculator.too_large`.
 */
export function parseExpression(text: string): Tree {
  if (text.length > maxLength) {
    throw new CapstanError(
      "calculator.too_large",
      `The expression has ${text.length} characters; at most ${maxLength} are computed. Split it into parts.`,
    );
  }
  const tokens = toTokens(text);
  let next = 0;
  let depth = 0;

  const peek = (): Token => tokens[next] ?? { type: "end", text: "", at: text.length };
  const take = (): Token => {
    const token = peek();
    next += 1;
    return token;
  };
  const takeSymbol = <S extends string>(...symbols: readonly S[]): S | undefined => {
    const symbol = symbols.find((wanted) => peek().type === "symbol" && peek().text === wanted);
    if (symbol !== undefined) next += 1;
    return symbol;
  };
  const expectSymbol = (symbol: string, expected: string): void => {
    if (takeSymbol(symbol) === undefined) throw unexpected(text, peek(), expected);
  };
  const nested = (parse: () => Tree): Tree => {
    depth += 1;
    if (depth > maxDepth) {
      throw new CapstanError("calculator.too_large", `The expression nests deeper than ${maxDepth} levels.`);
    }
    const tree = parse();
    depth -= 1;
    return tree;
  };

  const sum = (): Tree => {
    let left = product();
    for (let operator = takeSymbol("+", "-"); operator !== undefined; operator = takeSymbol("+", "-")) {
      left = { type: "binary", operator, left, right: product() };
    }
    return left;
  };
  const product = (): Tree => {
    let left = signed();
    for (let operator = takeSymbol("*", "/", "%"); operator !== undefined; operator = takeSymbol("*", "/", "%")) {
      left = { type: "binary", operator, left, right: signed() };
    }
    return left;
  };
  const signed = (): Tree => {
    const sign = takeSymbol("+", "-");
    if (sign === undefined) return power();
    const of = nested(signed);
    return sign === "-" ? { type: "negate", of } : of;
  };
  const power = (): Tree => {
    let base = primary();
    while (takeSymbol("!") !== undefined) base = { type: "factorial", of: base };
    if (takeSymbol("^") === undefined) return base;
    return { type: "binary", operator: "^", left: base, right: nested(signed) };
  };
  const primary = (): Tree => {
    const token = take();
    if (token.type === "number") return { type: "number", value: toNumber(token.text) };
    if (token.type === "name") return named(token);
    if (token.text !== "(") throw unexpected(text, token, 'a number, a name or "("');
    const tree = nested(sum);
    expectSymbol(")", 'an operator or ")"');
    return tree;
  };
  const named = ({ text: name, at }: Token): Tree => {
    if (takeSymbol("(") === undefined) return { type: "constant", name: name.toLowerCase(), at };
    const args: Tree[] = [];
    if (takeSymbol(")") === undefined) {
      do args.push(nested(sum));
      while (takeSymbol(",") !== undefined);
      expectSymbol(")", 'an operator, "," or ")"');
    }
    return { type: "call", name: name.toLowerCase(), args, at };
  };

  const tree = sum();
  if (peek().type !== "end") throw unexpected(text, peek(), "an operator or the end");
  return tree;
}

/** A `calculator.syntax` error that shows where it is, counted from 1, with what stands around it. */
export function syntaxError(text: string, at: number, problem: string): CapstanError {
  const from = Math.max(0, at - 20);
  const around = `${from > 0 ? "…" : ""}${text.slice(from, at)}▸${text.slice(at, at + 20)}${at + 20 < text.length ? "…" : ""}`;
  return new CapstanError("calculator.syntax", `At character ${at + 1} (${around}): ${problem}.`, {
    details: { position: at + 1 },
  });
}

function toTokens(text: string): readonly Token[] {
  const tokens: Token[] = [];
  const end = text.trimEnd().length;
  let at = 0;
  while (at < end) {
    tokenPattern.lastIndex = at;
    const match = tokenPattern.exec(text);
    const start = at + (/^\s*/.exec(text.slice(at))?.[0].length ?? 0);
    if (match === null) {
      throw syntaxError(
        text,
        start,
        `"${String.fromCodePoint(text.codePointAt(start) ?? 0)}" is no part of an expression`,
      );
    }
    const [, number, name, symbol = ""] = match;
    if (number !== undefined) tokens.push({ type: "number", text: number, at: start });
    else if (name !== undefined) tokens.push({ type: "name", text: name, at: start });
    else tokens.push({ type: "symbol", text: spellings[symbol] ?? symbol, at: start });
    at = tokenPattern.lastIndex;
  }
  return tokens;
}

function unexpected(text: string, { type, text: got, at }: Token, expected: string): CapstanError {
  return syntaxError(text, at, `expected ${expected}, got ${type === "end" ? "the end" : `"${got}"`}`);
}

/** A decimal literal is exactly what it says: 0.1 is a tenth. */
function toNumber(literal: string): Fraction {
  const [mantissa = "", exponentText = "0"] = literal.toLowerCase().split("e");
  const [whole = "", decimals = ""] = mantissa.split(".");
  const exponent = Number(exponentText) - decimals.length;
  if (Math.abs(exponent) > maxDigits) {
    throw new CapstanError("calculator.too_large", `${literal.slice(0, 40)} has more than ${maxDigits} digits.`);
  }
  const digits = BigInt(whole + decimals);
  return exponent >= 0
    ? toFraction(digits * 10n ** BigInt(exponent), 1n)
    : toFraction(digits, 10n ** BigInt(-exponent));
}

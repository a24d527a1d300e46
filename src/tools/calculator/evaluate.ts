import { CapstanError } from "../../core/error.ts";
import type { Fraction } from "./fraction.ts";
import { add, bounded, costOf, divide, multiply, negate, power, remainder, tooManyDigits } from "./fraction.ts";
import { constants, functions } from "./functions.ts";
import type { BinaryOperator, Tree } from "./parse.ts";
import { syntaxError } from "./parse.ts";
import type { Value } from "./value.ts";
import { toNumber } from "./value.ts";

/** What all steps of one evaluation may cost together, in units of about a microsecond. */
const maxCost = 200_000;
const maxFactorial = 1_400n;

/**
 * The value of a parsed expression; `text` is for messages. Exact as long as every part is. Bounded in digits and in work, before the
 * work is done. Throws `calculator.syntax` for an unknown name, `calculator.domain`, `calculator.too_large`.
 */
export function evaluate(tree: Tree, text: string): Value {
  let cost = 0;
  const visit = (node: Tree): Value => {
    const value = valueOf(node);
    cost += typeof value === "number" ? 1 : costOf(value);
    if (cost <= maxCost) return value;
    throw new CapstanError("calculator.too_large", "The expression takes too much computation. Split it into parts.");
  };
  const valueOf = (node: Tree): Value => {
    if (node.type === "number") return node.value;
    if (node.type === "constant") return constantOf(node.name, text, node.at);
    if (node.type === "negate") return negated(visit(node.of));
    if (node.type === "factorial") return factorial(visit(node.of));
    if (node.type === "binary") return combine(node.operator, visit(node.left), visit(node.right));
    const { name, at } = node;
    const known = functions.get(name);
    if (known === undefined) throw syntaxError(text, at, unknownName(name));
    if (node.args.length < known.from || node.args.length > known.to) {
      throw syntaxError(text, at, `${name} takes ${known.takes}, got ${node.args.length}`);
    }
    return finite(known.of(node.args.map(visit)), name);
  };
  return visit(tree);
}

function constantOf(name: string, text: string, at: number): Value {
  const value = constants.get(name);
  if (value !== undefined) return value;
  throw syntaxError(text, at, functions.has(name) ? `write ${name}(…) with parentheses` : unknownName(name));
}

const unknownName = (name: string): string =>
  `"${name.slice(0, 40)}" is not known. Constants: ${[...constants.keys()].join(", ")}. Functions: ${[...functions.keys()].join(", ")}`;

const negated = (value: Value): Value => (typeof value === "number" ? -value : negate(value));

/** How two exact numbers combine; undefined where the result is not exact. */
const exactly: Readonly<Record<BinaryOperator, (left: Fraction, right: Fraction) => Fraction | undefined>> = {
  "+": add,
  "-": (left, right) => add(left, negate(right)),
  "*": multiply,
  "/": divide,
  "%": remainder,
  "^": (left, right) => (right.over === 1n ? power(left, right.above) : undefined),
};

const approximately: Readonly<Record<BinaryOperator, (left: number, right: number) => number>> = {
  "+": (left, right) => left + right,
  "-": (left, right) => left - right,
  "*": (left, right) => left * right,
  // Infinity would be told as "too large".
  "/": (left, right) => (right === 0 ? Number.NaN : left / right),
  "%": (left, right) => left % right,
  "^": (left, right) => left ** right,
};

function combine(operator: BinaryOperator, left: Value, right: Value): Value {
  const exact = typeof left === "number" || typeof right === "number" ? undefined : exactly[operator](left, right);
  return exact ?? finite(approximately[operator](toNumber(left), toNumber(right)), operator);
}

function factorial(of: Value): Fraction {
  if (typeof of === "number" || of.over !== 1n || of.above < 0n) {
    throw new CapstanError("calculator.domain", "A factorial is defined for whole numbers from 0, exactly known.");
  }
  if (of.above > maxFactorial) throw tooManyDigits(`The factorial of a number above ${maxFactorial}`);
  let product = 1n;
  for (let factor = 2n; factor <= of.above; factor += 1n) product *= factor;
  return { above: bounded(product), over: 1n };
}

/** Lets no NaN and no infinity through, each with its reason. */
function finite(value: Value, operation: string): Value {
  if (typeof value !== "number" || Number.isFinite(value)) return value;
  if (Number.isNaN(value)) {
    throw new CapstanError("calculator.domain", `${operation} has no real result for these numbers.`);
  }
  throw new CapstanError("calculator.too_large", `The approximate result of ${operation} is above 1.8e308.`);
}

import { invisible } from "../../core/value-in-words.ts";
import type { Declared } from "./declaration.ts";
import type { Field, Shape } from "./shape.ts";

/**
 * A tool in Python (3.11 and later): a function with the name by which code calls it on `tools`, and the dictionaries that it takes and
 * gives. Those are written as calls of TypedDict, which takes any text as a key.
 */
export function toPython({ name, about, input, output, lineOf }: Declared): string {
  const dictionaries: string[] = [];
  const taken = new Set<string>();
  const prefix = toClassName(name);
  const takes = print(input, `${prefix}Args`);
  const gives = print(output, `${prefix}Result`);
  const isPlain = isIdentifier(name);
  return [
    "from typing import Any, Literal, Never, NotRequired, TypedDict, Unpack",
    "",
    ...dictionaries,
    ...(isPlain ? [] : [`# Call it as getattr(tools, ${quoted(name)})(...).`]),
    `def ${isPlain ? name : `tool_${name.replaceAll("-", "_")}`}(${toParameters(input, takes)}) -> ${gives}:`,
    `    ${quoted(about)}`,
    "    ...",
  ].join("\n");

  function print(shape: Shape, className: string): string {
    switch (shape.type) {
      case "any":
        return "Any";
      case "never":
        return "Never";
      case "scalar":
        return scalars[shape.name];
      case "literal":
        return printLiterals([shape.value]);
      case "list":
        return `list[${print(shape.of, `${className}Item`)}]`;
      case "tuple":
        // In JSON it is a list all the same.
        return `list[${shape.of.map((part, index) => print(part, `${className}${index + 1}`)).join(" | ") || "Never"}]`;
      case "union":
        return printUnion(shape.of, className);
      case "record":
        return `dict[str, ${print(shape.of, `${className}Value`)}]`;
      default:
        return printObject(shape.fields, className);
    }
  }

  function printUnion(parts: readonly Shape[], className: string): string {
    const literals = parts.flatMap((part) => (part.type === "literal" ? [part.value] : []));
    const others = parts.filter(({ type }) => type !== "literal");
    return [
      ...(literals.length === 0 ? [] : [printLiterals(literals)]),
      ...others.map((part, index) => print(part, `${className}${index + 1}`)),
    ].join(" | ");
  }

  function printObject(fields: readonly Field[], wanted: string): string {
    const className = taken.has(wanted) ? `${wanted}_${taken.size}` : wanted;
    taken.add(className);
    const lines = fields.flatMap((field, index) => {
      const type = print(field.shape, `${className}_${isIdentifier(field.name) ? field.name : index + 1}`);
      const line = lineOf(field);
      return [
        ...(line === "" ? [] : [`    # ${line}`]),
        `    ${quoted(field.name)}: ${field.optional ? `NotRequired[${type}]` : type},`,
      ];
    });
    const opened = `${className} = TypedDict(${quoted(className)}, {`;
    dictionaries.push(...(lines.length === 0 ? [`${opened}})`] : [opened, ...lines, "})"]), "");
    return className;
  }
}

const scalars = { string: "str", number: "float", integer: "int", boolean: "bool", null: "None" } as const;

function toParameters({ type }: Shape, takes: string): string {
  return type === "object" ? `**arguments: Unpack[${takes}]` : "**arguments: Any";
}

/** PEP 586 knows no numbers with a fraction. */
function printLiterals(values: readonly (string | number | boolean | null)[]): string {
  const isNumber = (value: unknown): boolean => typeof value === "number" && !Number.isSafeInteger(value);
  const texts = values.filter((value) => !isNumber(value)).map(literalText);
  return [
    ...(texts.length === 0 ? [] : [`Literal[${texts.join(", ")}]`]),
    ...(values.some(isNumber) ? ["float"] : []),
  ].join(" | ");
}

function literalText(value: string | number | boolean | null): string {
  if (typeof value === "string") return quoted(value);
  if (value === null) return "None";
  return typeof value === "boolean" ? (value ? "True" : "False") : String(value);
}

const keywords: ReadonlySet<string> = new Set(
  (
    "False None True and as assert async await break class continue def del elif else except finally for from global if import in is " +
    "lambda nonlocal not or pass raise return try while with yield"
  ).split(" "),
);

const isIdentifier = (name: string): boolean => /^[A-Za-z_]\w*$/.test(name) && !keywords.has(name);

const toClassName = (name: string): string =>
  name
    .replace(/^(?=\d)/, "_")
    .replace(/(?:^|[_-]+)([A-Za-z])/g, (_match, letter: string) => letter.toUpperCase())
    .replaceAll("-", "_");

/** A string of Python: that of JSON, with what is invisible as escapes of Python. */
function quoted(text: string): string {
  return JSON.stringify(text).replace(new RegExp(invisible, "gu"), (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code > 0xffff ? `\\U${code.toString(16).padStart(8, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

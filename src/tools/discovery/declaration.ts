import { invisible, quote } from "../../core/value-in-words.ts";
import { toPython } from "./declaration-python.ts";
import type { Field, Shape } from "./shape.ts";
import { toShape } from "./shape.ts";
import type { Tool } from "../tool.ts";

/** Of a description, in characters. */
const maxToolText = 600;
const maxFieldText = 160;

/** A tool's types as the code that calls it would declare them. */
export interface Declarations {
  readonly typescript: string;
  readonly python: string;
}

/**
 * Declares a tool in TypeScript and in Python, from its schemas. Names and texts of a definition may come from anywhere: they stand in
 * quotes or in comments that they can't leave, and both declarations are bounded, whatever the schemas are.
 */
export function toDeclarations({ name, title, description, inputSchema, outputSchema }: Tool): Declarations {
  const input = toShape(inputSchema);
  const output: Shape = outputSchema === undefined ? { type: "any" } : toShape(outputSchema);
  const about = toLine(title === "" || title === name ? description : `${title}. ${description}`, maxToolText);
  const lineOf = (field: Field): string => toLine(field.description, maxFieldText);
  return {
    typescript: toTypeScript({ name, about, input, output, lineOf }),
    python: toPython({ name, about, input, output, lineOf }),
  };
}

/** What both languages are made of. `about` and `lineOf` give one line, bounded, nothing in it invisible. */
export interface Declared {
  readonly name: string;
  readonly about: string;
  readonly input: Shape;
  readonly output: Shape;
  readonly lineOf: (field: Field) => string;
}

function toLine(text: string, max: number): string {
  const line = text
    .slice(0, max * 4)
    .toWellFormed()
    .replace(new RegExp(`(?:\\s|${invisible.source})+`, "gu"), " ")
    .trim();
  return line.length <= max ? line : `${line.slice(0, max).toWellFormed()}…`;
}

function toTypeScript({ name, about, input, output, lineOf }: Declared): string {
  const optional = input.type === "object" && input.fields.every((field) => field.optional) ? "?" : "";
  return [
    "declare const tools: {",
    ...comment(about, "  "),
    `  ${key(name)}(args${optional}: ${print(input, "  ")}): Promise<${print(output, "  ")}>;`,
    "};",
  ].join("\n");

  function print(shape: Shape, indent: string): string {
    switch (shape.type) {
      case "any":
        return "unknown";
      case "never":
        return "never";
      case "scalar":
        return shape.name === "integer" ? "number" : shape.name;
      case "literal":
        return typeof shape.value === "string" ? quote(shape.value) : String(shape.value);
      case "list":
        return `${shape.of.type === "union" ? `(${print(shape.of, indent)})` : print(shape.of, indent)}[]`;
      case "tuple":
        return `[${shape.of.map((part) => print(part, indent)).join(", ")}]`;
      case "union":
        return shape.of.map((part) => print(part, indent)).join(" | ");
      case "record":
        return `Record<string, ${print(shape.of, indent)}>`;
      default:
        return printObject(shape.fields, indent);
    }
  }

  function printObject(fields: readonly Field[], indent: string): string {
    if (fields.length === 0) return "{}";
    const inner = `${indent}  `;
    const lines = fields.flatMap((field) => [
      ...comment(lineOf(field), inner),
      `${inner}${key(field.name)}${field.optional ? "?" : ""}: ${print(field.shape, inner)};`,
    ]);
    return ["{", ...lines, `${indent}}`].join("\n");
  }
}

const comment = (line: string, indent: string): string[] =>
  line === "" ? [] : [`${indent}/** ${line.replaceAll("*/", "* /")} */`];

/** A key that is no plain identifier stands in quotes. */
const key = (name: string): string => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : quote(name));

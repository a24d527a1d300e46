import { Ajv, type Options } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import { CapstanError } from "../core/error.ts";
import type { JsonSchema } from "../core/json.ts";
import { badArguments } from "./schema.ts";
import type { Schema } from "./tool.ts";

type Check = ReturnType<Ajv["compile"]>;

/**
 * A schema that came as JSON Schema (dialect 2020-12 or draft-07). Compiled on first use; values are not changed: no coercion, no
 * defaults. A schema that does not compile throws `tool.bad_definition` at its first use; nothing is ever fetched for it. `isForeign`:
 * somebody else wrote it, so what could be made to take for ever (`pattern`, `patternProperties`, `uniqueItems`) is left unchecked.
 */
export function fromJsonSchema(json: JsonSchema, options: { readonly isForeign?: boolean } = {}): Schema<object> {
  let check: Check | undefined;
  return {
    json,
    parse(value) {
      check ??= compile(json, options.isForeign === true);
      const isObject = typeof value === "object" && value !== null;
      if (isObject && check(value)) return value;
      const errors = (isObject ? check.errors : null) ?? [];
      throw badArguments(
        errors.length === 0
          ? ["the arguments: expected an object"]
          : errors.map((error) => `${error.instancePath || "the arguments"}: ${error.message ?? error.keyword}`),
      );
    },
  };
}

/** Whether it is a JSON Schema of a dialect that is known here, whose references all stay inside it. */
export function isJsonSchema(json: JsonSchema): boolean {
  try {
    if (toDialect(json) === undefined) return false;
    // Where references lead shows only when it is compiled, which costs as much as a hundred looks at its form.
    if (/"\$(?:dynamicR|recursiveR|r)ef"/.test(JSON.stringify(json))) compile(json, true);
    return true;
  } catch {
    return false;
  }
}

function compile(json: JsonSchema, isForeign: boolean): Check {
  try {
    const dialect = toDialect(json);
    if (dialect === undefined) throw new Error("It is of no dialect that is known here.");
    const { $schema: _dialect, ...schema } = json;
    const ajv = dialect.open({
      ...common,
      // The form was looked at already, by an instance that has compiled its dialect's own schema.
      ...{ validateSchema: false, meta: false },
      ...(isForeign ? { code: { regExp: anything } } : {}),
    });
    // Where every pattern matches, what stands under one says nothing, nor what stands beside all of them.
    if (isForeign) for (const keyword of unchecked) ajv.removeKeyword(keyword);
    return ajv.compile(schema);
  } catch (cause) {
    const text = "The tool's schema is not a valid JSON Schema (2020-12 or draft-07) that needs nothing beside itself.";
    throw new CapstanError("tool.bad_definition", text, { cause });
  }
}

const common = { strict: false, allErrors: false, validateFormats: false } as const satisfies Options;

const unchecked = ["uniqueItems", "patternProperties", "unevaluatedProperties"];

const anything: NonNullable<NonNullable<Options["code"]>["regExp"]> = Object.assign(() => ({ test: () => true }), {
  code: "anything",
});

/** A dialect, and what knows whether a schema has its form. */
interface Dialect {
  readonly name: RegExp;
  readonly open: (options: Options) => Ajv;
  form?: Ajv;
}

const dialects: readonly Dialect[] = [
  { name: /2020-12/, open: (options) => new Ajv2020(options) },
  { name: /draft-0[67]/, open: (options) => new Ajv(options) },
];

/** The dialect that a schema names; where it names none, the first whose form it has: many write draft-07 and don't say so. */
function toDialect({ $schema: named, ...schema }: JsonSchema): Dialect | undefined {
  return dialects.find((dialect) => {
    if (typeof named === "string" && !dialect.name.test(named)) return false;
    dialect.form ??= dialect.open(common);
    return dialect.form.validateSchema(schema) === true;
  });
}

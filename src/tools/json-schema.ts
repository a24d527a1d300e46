import { Ajv, type Options } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import { CapstanError } from "../core/error.ts";
import type { JsonSchema } from "../core/json.ts";
import { bounded } from "./bounded.ts";
import { badArguments } from "./schema.ts";
import type { Schema } from "./tool.ts";

type Check = ReturnType<Ajv["compile"]>;

/** How long a schema that somebody else wrote may take to compile, and to check one value. */
const foreignMs = 1_000;
/** What is checked without a look at the clock: characters of the schema times parts of the value. */
const maxUnwatched = 1e7;

/**
 * A schema that came as JSON Schema (dialect 2020-12 or draft-07). Compiled on first use; values are not changed: no coercion, no
 * defaults. A schema that does not compile throws `tool.bad_definition` at its first use; nothing is ever fetched for it. `isForeign`:
 * somebody else wrote it, so what could be made to take for ever (`pattern`, `patternProperties`, `uniqueItems`) is left unchecked, and
 * what takes more than a second is given up (`tool.bad_definition`).
 */
export function fromJsonSchema(json: JsonSchema, options: { readonly isForeign?: boolean } = {}): Schema<object> {
  const isForeign = options.isForeign === true;
  let check: Check | undefined;
  return {
    json,
    parse(value) {
      check ??= compile(json, isForeign);
      const isObject = typeof value === "object" && value !== null;
      if (isObject && (isForeign ? fitsInTime(check, json, value) : check(value))) return value;
      const errors = (isObject ? check.errors : null) ?? [];
      check.errors = null; // There may be very many.
      throw badArguments(
        errors.length === 0
          ? ["the arguments: expected an object"]
          : errors.map((error) => `${error.instancePath || "the arguments"}: ${error.message ?? error.keyword}`),
      );
    },
  };
}

/**
 * What tells of any JSON value what it lacks to fit a schema: nothing, or a sentence for each problem. All is checked, patterns too, and
 * what takes more than a second is given up. Throws `tool.bad_definition`: now for a schema that is none, later for a check that takes
 * too long.
 */
export function toCheck(json: JsonSchema): (value: unknown) => readonly string[] {
  toDialect(json); // What checks looks at its own schema first. Others use it, so that must not be given up half done.
  const check = bounded("Compiling the schema", foreignMs, () => compile(json, false, true));
  return (value) => {
    let isFit: unknown;
    try {
      isFit = bounded("Checking a value against the schema", foreignMs, () => check(value));
    } catch (thrown) {
      if (thrown instanceof RangeError) throw leadsBack(thrown);
      // How ajv compares objects calls what stands in a field of that name.
      if (!(thrown instanceof TypeError)) throw thrown;
      check.errors = null;
      return [
        "the value: it has a field called toString or valueOf where the schema compares values, so it can't be checked",
      ];
    }
    const errors = isFit === true ? [] : (check.errors ?? []);
    check.errors = null;
    return errors.map(({ instancePath, message, keyword }) => `${instancePath || "the value"}: ${message ?? keyword}`);
  };
}

/** Whether it is a JSON Schema of a dialect that is known here, whose references all stay inside it. */
export function isJsonSchema(json: JsonSchema): boolean {
  try {
    if (toDialect(json) === undefined) return false;
    // Where references lead shows only when it is compiled, which costs as much as a hundred looks at its form.
    if (hasReference(JSON.stringify(json))) compile(json, true);
    return true;
  } catch {
    return false;
  }
}

/** References make a short schema ask any number of questions of a short value (each twice what the last one asks), or turn in circles. */
const hasReference = (schema: string): boolean => /"\$(?:dynamicR|recursiveR|r)ef"/.test(schema);

function fitsInTime(check: Check, json: JsonSchema, value: object): boolean {
  const schema = JSON.stringify(json);
  const isWatched = hasReference(schema) || hasMoreParts(value, maxUnwatched / schema.length);
  try {
    return (
      (isWatched
        ? bounded("Checking a value against the tool's schema", foreignMs, () => check(value))
        : check(value)) === true
    );
  } catch (cause) {
    if (cause instanceof CapstanError) throw cause;
    throw leadsBack(cause);
  }
}

/** The stack has ended on the way round. */
function leadsBack(cause: unknown): CapstanError {
  const text = "The schema can't be checked: it leads back to itself. Ask who maintains the tool.";
  return new CapstanError("tool.bad_definition", text, { cause });
}

/** Whether a value has more parts than that, characters of texts among them. */
function hasMoreParts(value: unknown, max: number): boolean {
  const left: unknown[] = [value];
  let parts = 0;
  for (let item = left.pop(); item !== undefined; item = left.pop()) {
    parts += typeof item === "string" ? item.length : 1;
    if (typeof item === "object" && item !== null) for (const inner of Object.values(item)) left.push(inner);
    if (parts + left.length > max) return true;
  }
  return false;
}

function compile(json: JsonSchema, isForeign: boolean, allErrors = false): Check {
  try {
    const dialect = toDialect(json);
    if (dialect === undefined) throw new Error("It is of no dialect that is known here.");
    const { $schema: _dialect, ...schema } = json;
    // An instance of its own each time: one that was given up is half done.
    const made = () => {
      const ajv = dialect.open({
        ...common,
        allErrors,
        // The form was looked at already, by an instance that has compiled its dialect's own schema.
        ...{ validateSchema: false, meta: false },
        // To make its code shorter takes with the square of its length.
        ...(isForeign ? { code: { regExp: anything, optimize: false } } : {}),
      });
      // Where every pattern matches, what stands under one says nothing, nor what stands beside all of them.
      if (isForeign) for (const keyword of unchecked) ajv.removeKeyword(keyword);
      return ajv.compile(schema);
    };
    return isForeign ? bounded("Compiling the tool's schema", foreignMs, made) : made();
  } catch (cause) {
    if (cause instanceof CapstanError) throw cause;
    const text = "The tool's schema is not a valid JSON Schema (2020-12 or draft-07) that needs nothing beside itself.";
    throw new CapstanError("tool.bad_definition", text, { cause });
  }
}

const common = { strict: false, allErrors: false, validateFormats: false, logger: false } as const satisfies Options;

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

import { Ajv2020 } from "ajv/dist/2020.js";
import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import type { JsonSchema } from "../core/json.ts";
import { isJsonObject } from "../core/json.ts";
import type { Schema } from "./tool.ts";

/** How many problems of one value are told; the rest only adds noise for the reader. */
const maxProblems = 5;

/**
 * A schema of our own tools, from zod. The JSON Schema is that of the input, so that an argument with a default is not required.
 * Transforms are refused by `z.toJSONSchema` itself: what is parsed stays JSON.
 */
export function fromZod<T>(schema: z.ZodType<T>): Schema<T> {
  const json: unknown = z.toJSONSchema(schema, { io: "input" });
  if (!isJsonObject(json)) throw new CapstanError("tool.bad_definition", "The schema has no JSON Schema.");
  return {
    json,
    parse(value) {
      const parsed = schema.safeParse(value, { reportInput: true });
      if (parsed.success) return parsed.data;
      throw badArguments(
        parsed.error.issues.map(
          (issue) => `${issue.path.length === 0 ? "the arguments" : issue.path.join(".")}: ${issue.message}`,
        ),
      );
    },
  };
}

/**
 * A schema that came as JSON Schema (dialect 2020-12), as other servers send it. Compiled on first use; values are not changed: no
 * coercion, no defaults. A schema that does not compile throws `tool.bad_definition` at its first use.
 */
export function fromJsonSchema(json: JsonSchema): Schema<object> {
  let check: ReturnType<Ajv2020["compile"]> | undefined;
  return {
    json,
    parse(value) {
      check ??= compile(json);
      if (typeof value === "object" && value !== null && check(value)) return value;
      const errors = check.errors ?? [];
      throw badArguments(
        errors.length === 0
          ? ["the arguments: expected an object"]
          : errors.map((error) => `${error.instancePath || "the arguments"}: ${error.message ?? error.keyword}`),
      );
    },
  };
}

function compile(json: JsonSchema): ReturnType<Ajv2020["compile"]> {
  try {
    return new Ajv2020({ strict: false, allErrors: false, validateFormats: false }).compile(json);
  } catch (cause) {
    throw new CapstanError("tool.bad_definition", "The tool's input schema is not a valid JSON Schema (2020-12).", {
      cause,
    });
  }
}

function badArguments(problems: readonly string[]): CapstanError {
  const told = problems.slice(0, maxProblems).join("; ");
  const more = problems.length > maxProblems ? `; and ${problems.length - maxProblems} more` : "";
  return new CapstanError("tool.bad_arguments", `${told}${more}.`);
}

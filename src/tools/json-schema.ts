import { Ajv2020 } from "ajv/dist/2020.js";
import { CapstanError } from "../core/error.ts";
import type { JsonSchema } from "../core/json.ts";
import { badArguments } from "./schema.ts";
import type { Schema } from "./tool.ts";

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

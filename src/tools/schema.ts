import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import { fit } from "../core/issue.ts";
import { isJsonObject } from "../core/json.ts";
import type { Schema } from "./tool.ts";

/** How many problems of one value are told; the rest only adds noise for the reader. */
const maxProblems = 5;

/**
 * A schema of our own tools, from zod. The JSON Schema is that of the input, so that an argument with a default is not required.
 * Transforms are refused by `z.toJSONSchema` itself: what is parsed stays JSON.
 */
export function fromZod<T>(schema: z.ZodType<T>): Schema<T> {
  const { $schema: _dialect, ...json }: Record<string, unknown> = z.toJSONSchema(schema, {
    io: "input",
    override: ({ jsonSchema }) => leaveOutNoise(jsonSchema),
  });
  if (!isJsonObject(json)) throw new CapstanError("tool.bad_definition", "The schema has no JSON Schema.");
  return {
    json,
    parse(value) {
      const fitted = fit(schema, value, "the arguments");
      if ("data" in fitted) return fitted.data;
      throw badArguments(fitted.problems.map(({ text }) => text));
    },
  };
}

/**
 * Leaves out what says nothing to a model, which pays for each word: the ends of what a number can hold, and the pattern beside a
 * format. The dialect is left out too: without one it is 2020-12 (MCP 2025-11-25 and later, basic, JSON Schema Usage).
 */
function leaveOutNoise(json: z.core.JSONSchema.BaseSchema): void {
  if (json.minimum === Number.MIN_SAFE_INTEGER) delete json.minimum;
  if (json.maximum === Number.MAX_SAFE_INTEGER) delete json.maximum;
  if (json.format !== undefined) delete json.pattern;
}

/** What a schema throws for a value that does not fit it: the first few problems. */
export function badArguments(problems: readonly string[]): CapstanError {
  const told = problems.slice(0, maxProblems).join("; ");
  const more = problems.length > maxProblems ? `; and ${problems.length - maxProblems} more` : "";
  return new CapstanError("tool.bad_arguments", `${told}${more}.`);
}

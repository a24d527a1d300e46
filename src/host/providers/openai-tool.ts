import type { ModelTool } from "../../core/event.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { isJsonObject } from "../../core/json.ts";

/** What OpenAI's APIs take at the root of no tool's schema. */
const choices: ReadonlySet<string> = new Set(["anyOf", "oneOf", "allOf", "enum", "not"]);
/** Below these stands data, which may look like a schema. */
const data: ReadonlySet<string> = new Set(["enum", "const", "default", "examples"]);
/** Below these stand schemas by names. */
const named: ReadonlySet<string> = new Set(["properties", "patternProperties", "$defs", "definitions"]);

/**
 * A tool as OpenAI's APIs take its function. One schema that they don't take has them refuse the whole request, and tools of MCP servers
 * have any: what can't stand at the root is told in the description, and objects and arrays say what is in them, be it nothing. The door
 * checks arguments by the schema as it was.
 */
export function toFunction({ name, description, inputSchema }: ModelTool) {
  const { $schema: _, ...schema } = inputSchema;
  const taken = Object.entries(schema).filter(([word]) => !choices.has(word));
  const told = Object.entries(schema).filter(([word]) => choices.has(word));
  const more = told.length === 0 ? "" : `\n\nIts arguments also follow: ${JSON.stringify(Object.fromEntries(told))}`;
  return {
    name,
    description: `${description}${more}`,
    parameters: completeObject({ ...Object.fromEntries(taken), type: "object" }),
  };
}

function complete(value: Json): Json {
  if (Array.isArray(value)) return value.map(complete);
  return isJsonObject(value) ? completeObject(value) : value;
}

function completeObject(value: JsonObject): Record<string, Json> {
  const { type } = value;
  return {
    ...(type === "object" ? { properties: {} } : {}),
    ...(type === "array" ? { items: {} } : {}),
    ...Object.fromEntries(Object.entries(value).map(([key, part]) => [key, completePart(key, part)])),
  };
}

function completePart(word: string, part: Json): Json {
  if (data.has(word)) return part;
  // What stands here has names of its own, which may be those of data.
  if (!named.has(word) || !isJsonObject(part)) return complete(part);
  return Object.fromEntries(Object.entries(part).map(([name, schema]) => [name, complete(schema)]));
}

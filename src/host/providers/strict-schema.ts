import type { Json, JsonSchema } from "../../core/json.ts";
import { isJsonObject } from "../../core/json.ts";

/** The words of JSON Schema that OpenAI's strict mode knows for certain, of those that schemas of answers use. */
const known = new Set([
  "type",
  "title",
  "description",
  "properties",
  "required",
  "additionalProperties",
  "items",
  "enum",
  "anyOf",
]);

/** The limits that OpenAI has set to such schemas and never lowered: servers of Azure may still have the first of them. */
const maxLevels = 5;
const maxProperties = 100;
const maxChoices = 500;
const maxChars = 15_000;

/**
 * Whether OpenAI's APIs can hold an answer to this schema (`strict`): they refuse a request with any other, and without `strict` take the
 * schema for advice. Objects are closed and demand each of their properties.
 */
export function isStrict(root: JsonSchema): boolean {
  const { $schema: _, ...schema } = root;
  if (schema["type"] !== "object" || "anyOf" in schema || JSON.stringify(schema).length > maxChars) return false;
  const size = { properties: 0, choices: 0 };
  return isClosed(schema, maxLevels, size) && size.properties <= maxProperties && size.choices <= maxChoices;
}

/** Whether a schema that may hold so many levels of objects is closed. `size` gets what is counted in it. */
function isClosed(schema: Json | undefined, levels: number, size: { properties: number; choices: number }): boolean {
  if (!isJsonObject(schema) || !Object.keys(schema).every((word) => known.has(word))) return false;
  const { type = [], properties = {}, required = [], additionalProperties, items, anyOf = [], enum: choices } = schema;
  const types = Array.isArray(type) ? type : [type];
  // Of every value its kind is to be said, and of a list what is in it.
  if (!("type" in schema || "anyOf" in schema) || (types.includes("array") && items === undefined)) return false;
  if (!isJsonObject(properties) || !Array.isArray(required) || !Array.isArray(anyOf)) return false;
  const names = Object.keys(properties);
  const isObject = types.includes("object") || names.length > 0;
  if (isObject && (additionalProperties !== false || !names.every((name) => required.includes(name)))) return false;
  size.properties += names.length;
  size.choices += Array.isArray(choices) ? choices.length : 0;
  const left = isObject ? levels - 1 : levels;
  const within = [...Object.values(properties), ...anyOf, ...(items === undefined ? [] : [items])];
  return left >= 0 && within.every((part) => isClosed(part, left, size));
}

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

/**
 * Whether OpenAI's APIs can hold an answer to this schema (`strict`): they refuse a request with any other, and without `strict` take the
 * schema for advice. Objects are closed and demand each of their properties.
 */
export function isStrict(schema: JsonSchema): boolean {
  return schema["type"] === "object" && !("anyOf" in schema) && isClosed(schema);
}

function isClosed(schema: Json | undefined): boolean {
  if (!isJsonObject(schema) || !Object.keys(schema).every((word) => known.has(word))) return false;
  const { type, properties = {}, required = [], additionalProperties, items, anyOf = [] } = schema;
  // Of every value its kind is to be said, and of a list what is in it.
  if (!("type" in schema || "anyOf" in schema) || (type === "array" && items === undefined)) return false;
  if (!isJsonObject(properties) || !Array.isArray(required) || !Array.isArray(anyOf)) return false;
  const names = Object.keys(properties);
  const isObject = type === "object" || names.length > 0;
  if (isObject && (additionalProperties !== false || !names.every((name) => required.includes(name)))) return false;
  return [...Object.values(properties), ...anyOf, ...(items === undefined ? [] : [items])].every(isClosed);
}

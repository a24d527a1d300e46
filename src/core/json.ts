import { hash } from "node:crypto";
import { CapstanError } from "./error.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };
/** A JSON Schema of dialect 2020-12, as data. */
export type JsonSchema = { readonly [key: string]: Json };

/** Whether a value is of a kind that JSON has. It looks at the value itself, not into it. */
export function isJson(value: unknown): value is Json {
  return (
    value === null ||
    ["boolean", "number", "string"].includes(typeof value) ||
    Array.isArray(value) ||
    isJsonObject(value)
  );
}

/** Whether a value is an object of JSON: no array, no null. It does not look into it. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * JSON with sorted keys and no spaces: equal values give equal text (RFC 8785 for the values that Capstan hashes: finite numbers,
 * strings, plain objects). Throws `core.bad_json` for NaN, infinities, undefined and functions, which have no JSON.
 */
export function canonicalJson(value: unknown): string {
  switch (typeof value) {
    case "string":
    case "boolean":
      return JSON.stringify(value);
    case "number":
      if (!Number.isFinite(value))
        throw new CapstanError("core.bad_json", `A number in JSON must be finite, not ${value}.`);
      return JSON.stringify(value);
    case "object":
      if (value === null) return "null";
      if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
      return canonicalObject(value);
    default:
      throw new CapstanError("core.bad_json", `A value of type ${typeof value} has no JSON.`);
  }
}

function canonicalObject(value: object): string {
  let members = "";
  for (const [key, item] of Object.entries(value).sort(byKey)) {
    if (item === undefined) continue;
    members += `${members === "" ? "" : ","}${JSON.stringify(key)}:${canonicalJson(item)}`;
  }
  return `{${members}}`;
}

const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);

/** SHA-256 of text or bytes, in hexadecimal. */
export function sha256(data: string | Uint8Array): string {
  return hash("sha256", data);
}

/** Freezes a JSON value and everything in it, in place, and returns it: what was checked is what runs. */
export function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const item of Object.values(value)) deepFreeze(item);
  }
  return value;
}

const prototypeKey = "__proto__";

/** Whether somewhere in a value a member is called `__proto__`: what reads JSON by a schema drops it, so no log may hold one. */
export function holdsPrototype(value: Json): boolean {
  if (typeof value !== "object" || value === null) return false;
  return Object.hasOwn(value, prototypeKey) || Object.values(value).some(holdsPrototype);
}

/** An object without such members; the same object where it has none. */
export function withoutPrototype(value: JsonObject): JsonObject {
  return holdsPrototype(value) ? dropPrototype(value) : value;
}

function dropPrototype(value: JsonObject): JsonObject {
  const kept = Object.entries(value).filter(([name]) => name !== prototypeKey);
  return Object.fromEntries(kept.map(([name, item]) => [name, dropWithin(item)]));
}

function dropWithin(value: Json): Json {
  if (Array.isArray(value)) return value.map(dropWithin);
  return isJsonObject(value) ? dropPrototype(value) : value;
}

/** What is nested deeper overflows the stack of some reader. */
const maxDepth = 200;

/** The JSON in a text that somebody else wrote; undefined for what is none, or is nested more than 200 levels deep. */
export function parseJson(text: string): Json | undefined {
  let value: Json;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isTooDeep(value) ? undefined : value;
}

/** Whether a value is nested more than 200 levels deep: nobody could read it back, so no log may keep it. */
export function isTooDeep(value: unknown): boolean {
  return isDeeper(value, maxDepth);
}

function isDeeper(value: unknown, levels: number): boolean {
  if (levels < 0) return true;
  if (typeof value !== "object" || value === null) return false;
  for (const item of Object.values(value)) if (isDeeper(item, levels - 1)) return true;
  return false;
}

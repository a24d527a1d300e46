import type { Json, JsonSchema } from "../../core/json.ts";
import { isJsonObject } from "../../core/json.ts";

/** What a JSON Schema says of a value, as far as the types of programming languages can say it. `any` where they can't. */
export type Shape =
  | { readonly type: "any" | "never" }
  | { readonly type: "scalar"; readonly name: ScalarName }
  | { readonly type: "literal"; readonly value: string | number | boolean | null }
  | { readonly type: "list" | "record"; readonly of: Shape }
  | { readonly type: "tuple" | "union"; readonly of: readonly Shape[] }
  | { readonly type: "object"; readonly fields: readonly Field[] };
type ScalarName = "string" | "number" | "integer" | "boolean" | "null";

export interface Field {
  readonly name: string;
  readonly shape: Shape;
  readonly optional: boolean;
  readonly description: string;
}

/** Schemas of other servers may be of any size: what lies beyond is `any`, and fields beyond are left out. */
const maxParts = 250;
const maxDepth = 10;
const maxNameLength = 128;

const any: Shape = { type: "any" };
const scalarNames: ReadonlySet<Json | undefined> = new Set(["string", "number", "integer", "boolean", "null"]);

/**
 * Reads a JSON Schema (2020-12). References within it are followed; one that comes back to itself is `any`, as is one that leads
 * elsewhere. The shape may allow more than the schema does; less only by the fields that are too many.
 */
export function toShape(root: JsonSchema): Shape {
  let parts = 0;

  function read(schema: Json | undefined, path: readonly string[]): Shape {
    if (schema === false) return { type: "never" };
    parts += 1;
    if (!isJsonObject(schema) || parts > maxParts || path.length > maxDepth) return any;
    const below = (part: Json): Shape => read(part, [...path, ""]);
    return [
      ownShape(schema, path),
      ...listOf(schema["allOf"]).map(below),
      ...["anyOf", "oneOf"].flatMap((key) => (Array.isArray(schema[key]) ? union(listOf(schema[key]).map(below)) : [])),
    ].reduce(both);
  }

  function ownShape(schema: JsonSchema, path: readonly string[]): Shape {
    const { $ref: ref, const: value, enum: values } = schema;
    if (typeof ref === "string") return path.includes(ref) ? any : read(find(root, ref), [...path, ref]);
    if (value !== undefined) return literal(value);
    if (Array.isArray(values)) {
      parts += values.length;
      return parts > maxParts ? any : union(values.map(literal));
    }
    const types = schema["type"] === undefined ? impliedTypes(schema) : [schema["type"]].flat();
    return types.length === 0 ? any : union(types.map((type) => ofType(type, schema, path)));
  }

  function ofType(type: Json | undefined, schema: JsonSchema, path: readonly string[]): Shape {
    if (type === "array") {
      const { items, prefixItems } = schema;
      if (!Array.isArray(prefixItems)) return { type: "list", of: read(items, [...path, ""]) };
      // Those of 2020-12 may be fewer or more than their prefix, unless the schema says so.
      const isExact = items === false && schema["minItems"] === prefixItems.length;
      const of = listOf(prefixItems).map((item) => read(item, [...path, ""]));
      return isExact ? { type: "tuple", of } : { type: "list", of: any };
    }
    if (type === "object") return ofObject(schema, path);
    return isScalarName(type) ? { type: "scalar", name: type } : any;
  }

  function ofObject(schema: JsonSchema, path: readonly string[]): Shape {
    const { properties, additionalProperties: rest, patternProperties } = schema;
    if (!isJsonObject(properties)) {
      const isOpen = patternProperties !== undefined || !isJsonObject(rest);
      return { type: "record", of: isOpen ? any : read(rest, [...path, ""]) };
    }
    const required = listOf(schema["required"]);
    const fields: Field[] = [];
    for (const [name, part] of Object.entries(properties)) {
      if (parts >= maxParts) break;
      if (name.length > maxNameLength) continue;
      const text = isJsonObject(part) ? part["description"] : undefined;
      fields.push({
        name,
        shape: read(part, [...path, ""]),
        optional: !required.includes(name),
        description: typeof text === "string" ? text : "",
      });
    }
    return { type: "object", fields };
  }

  return read(root, []);
}

/** What a reference within a schema points at (RFC 6901); undefined where there is nothing. */
function find(root: JsonSchema, ref: string): Json | undefined {
  if (ref === "#") return root;
  if (!ref.startsWith("#/")) return undefined;
  let found: Json | undefined = root;
  for (const part of ref.slice(2).split("/")) {
    const key = unescapePart(part);
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, key)) return undefined;
    found = new Map<string, Json>(Object.entries(found)).get(key);
  }
  return found;
}

function unescapePart(part: string): string {
  try {
    return decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
  } catch {
    return part; // No percent-encoding, so it is meant as it stands.
  }
}

/** What satisfies both, or one of the two where that can't be said. */
function both(a: Shape, b: Shape): Shape {
  if (a.type === "any") return b;
  if (b.type === "any") return a;
  if (a.type === "union" && b.type !== "union") return both(b, a);
  if (a.type === "record" && (b.type === "object" || b.type === "union")) return b;
  if (a.type === "object" && b.type === "union") return union(b.of.map((part) => both(a, part)));
  if (a.type !== "object" || b.type !== "object") return a;
  const fields = new Map(a.fields.map((field) => [field.name, field]));
  for (const field of b.fields) {
    const before = fields.get(field.name);
    if (before === undefined) fields.set(field.name, field);
    else {
      const shape = both(before.shape, field.shape);
      fields.set(field.name, { ...before, shape, optional: before.optional && field.optional });
    }
  }
  return { type: "object", fields: [...fields.values()] };
}

function union(parts: readonly Shape[]): Shape {
  const flat = parts
    .flatMap((part) => (part.type === "union" ? part.of : [part]))
    .filter(({ type }) => type !== "never");
  const different = [...new Map(flat.map((part) => [JSON.stringify(part), part])).values()];
  const [only = { type: "never" } as const] = different;
  if (different.some(({ type }) => type === "any")) return any;
  return different.length < 2 ? only : { type: "union", of: different };
}

/** Values that have a literal type; of longer texts only the kind is told. */
function literal(value: Json): Shape {
  if (typeof value === "object" && value !== null) return any;
  return typeof value === "string" && value.length > maxNameLength
    ? { type: "scalar", name: "string" }
    : { type: "literal", value };
}

function impliedTypes(schema: JsonSchema): readonly string[] {
  if (schema["properties"] !== undefined) return ["object"];
  return schema["items"] !== undefined || schema["prefixItems"] !== undefined ? ["array"] : [];
}

const listOf = (value: Json | undefined): readonly Json[] => (Array.isArray(value) ? value : []);

const isScalarName = (type: Json | undefined): type is ScalarName => scalarNames.has(type);

import { isJsonObject, type Json, type JsonObject } from "../../../core/json.ts";

/** An argument that goes into a header beside the body: where it stands, and in which header. */
interface HeaderParam {
  readonly path: readonly string[];
  readonly header: string;
}

const key = "x-mcp-header";
/** A token of RFC 9110, 5.6.2. */
const token = /^[!#$%&'*+\-.^_`|~\w]+$/;

/**
 * The arguments that a tool's schema wants mirrored in headers (2026-07-28, streamable HTTP, Custom Headers from Tool Parameters).
 * Undefined where the schema breaks the rules: such a tool must be left out.
 */
export function toHeaderParams(inputSchema: JsonObject): readonly HeaderParam[] | undefined {
  const params: HeaderParam[] = [];
  const walk = (schema: Json | undefined, path: readonly string[]): void => {
    if (!isJsonObject(schema)) return;
    const header = schema[key];
    const isPlain = ["string", "integer", "boolean"].some((type) => type === schema["type"]);
    if (typeof header === "string" && token.test(header) && isPlain && path.length > 0) params.push({ path, header });
    if (!isJsonObject(schema["properties"])) return;
    for (const [name, inner] of Object.entries(schema["properties"])) walk(inner, [...path, name]);
  };
  walk(inputSchema, []);
  const names = new Set(params.map(({ header }) => header.toLowerCase()));
  // Each of them was found on a way of `properties` alone, and none by the same name as another.
  return names.size === params.length && params.length === countMarks(inputSchema) ? params : undefined;
}

/** How often the key stands anywhere in a schema, but for properties that have its name. */
function countMarks(schema: Json, isProperties = false): number {
  if (Array.isArray(schema)) return schema.reduce<number>((sum, item: Json) => sum + countMarks(item), 0);
  if (!isJsonObject(schema)) return 0;
  return Object.entries(schema).reduce((sum, [name, inner]) => {
    if (name === key && !isProperties) return sum + 1;
    const isData = !isProperties && ["const", "default", "enum", "examples"].includes(name);
    return isData ? sum : sum + countMarks(inner, !isProperties && name === "properties");
  }, 0);
}

/** What goes into headers of a call with these arguments. One that is missing or of another type does not. */
export function toMirrored(
  params: readonly HeaderParam[],
  args: JsonObject,
): readonly { readonly header: string; readonly value: string | number | boolean }[] {
  return params.flatMap(({ path, header }) => {
    const value = path.reduce<Json | undefined>(
      (at, name) => (isJsonObject(at) && Object.hasOwn(at, name) ? at[name] : undefined),
      args,
    );
    const isWhole = typeof value === "number" && Number.isSafeInteger(value);
    if (typeof value !== "string" && typeof value !== "boolean" && !isWhole) return [];
    return [{ header: `Mcp-Param-${header}`, value }];
  });
}

/** The headers of a call with these arguments. */
export function toParamHeaders(params: readonly HeaderParam[], args: JsonObject): Record<string, string> {
  return Object.fromEntries(toMirrored(params, args).map(({ header, value }) => [header, encodeValue(String(value))]));
}

/** Value Encoding: what is no plain ASCII, or could be taken for something else, goes as base64 between marks. */
function encodeValue(text: string): string {
  const isPlain = /^[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?$/.test(text) && !/^=\?base64\?.*\?=$/.test(text);
  return isPlain ? text : `=?base64?${Buffer.from(text).toString("base64")}?=`;
}

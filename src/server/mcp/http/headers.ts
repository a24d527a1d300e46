import type { IncomingHttpHeaders } from "node:http";
import { type JSONRPCRequest, PROTOCOL_VERSION_META_KEY, ProtocolError } from "@modelcontextprotocol/server";
import type { JsonObject, JsonSchema } from "../../../core/json.ts";
import { toHeaderParams, toMirrored } from "../../../host/mcp/connection/http-params.ts";

/** Headers and body disagree (2026-07-28, Server Validation). */
export const headerMismatch = -32_020;

/** The parameter that `Mcp-Name` repeats, by method (2026-07-28, Standard Request Headers). */
const named: Readonly<Record<string, string>> = {
  "tools/call": "name",
  "prompts/get": "name",
  "resources/read": "uri",
  "tasks/get": "taskId",
  "tasks/update": "taskId",
  "tasks/cancel": "taskId",
};

/**
 * What is wrong with the headers that repeat parts of a modern request, for whoever routes by them; null where nothing is. They must
 * be there and say what the body says, else a proxy and we would see two different requests (-32020).
 */
export function findMismatch(headers: IncomingHttpHeaders, { method, params }: JSONRPCRequest): string | null {
  const revision = params?.["_meta"]?.[PROTOCOL_VERSION_META_KEY];
  if (headers["mcp-protocol-version"] !== revision) return "MCP-Protocol-Version must be the revision of the envelope.";
  if (headers["mcp-method"] !== method) return "Mcp-Method must be the method of the body.";
  const parameter = named[method];
  const value = parameter === undefined ? undefined : params?.[parameter];
  if (parameter === undefined || typeof value !== "string") return null;
  const header = headers["mcp-name"];
  const told = typeof header === "string" ? decode(header.trim()) : null;
  return told === value ? null : `Mcp-Name must be params.${parameter} of the body.`;
}

/** The arguments that a schema wants in headers; read once for each tool, which never changes. */
const known = new WeakMap<JsonSchema, ReturnType<typeof toHeaderParams>>();

/**
 * Throws -32020 where an argument that the tool wants in a header too is missing there, or is another one (Custom Headers from Tool
 * Parameters). Numbers are compared as such. A schema that breaks the rules of `x-mcp-header` wants none.
 */
export function demandMirrored(headers: IncomingHttpHeaders, schema: JsonSchema, args: JsonObject): void {
  if (!known.has(schema)) known.set(schema, toHeaderParams(schema));
  for (const { header, value } of toMirrored(known.get(schema) ?? [], args)) {
    const sent = headers[header.toLowerCase()];
    const told = typeof sent === "string" ? decode(sent) : null;
    const isSame = typeof value === "number" ? told !== null && isNumber(told, value) : told === String(value);
    if (!isSame) throw new ProtocolError(headerMismatch, `${header} must be the argument of the body.`);
  }
}

const isNumber = (text: string, value: number): boolean => /^-?\d+(\.\d+)?$/.test(text) && Number(text) === value;

/** A header's value: plain, or `=?base64?…?=` where it could not be (2026-07-28, Value Encoding); null where that is malformed. */
function decode(value: string): string | null {
  const encoded = /^=\?base64\?(.*)\?=$/.exec(value)?.[1];
  if (encoded === undefined) return value;
  const bytes = Buffer.from(encoded, "base64");
  return bytes.toString("base64") === encoded ? bytes.toString("utf8") : null;
}

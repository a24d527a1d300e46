import type { LongLine } from "../../core/lines.ts";
import { isInitializeRequest, isSpecType, type JSONRPCRequest, type RequestId } from "@modelcontextprotocol/server";

/**
 * What the params of a request should have been, where they are not; null otherwise. Only the methods that an era
 * itself answers, and the one that is called most.
 */
export function expectedParams(request: JSONRPCRequest): string | null {
  if (request.method === "initialize" && !isInitializeRequest(request)) {
    return "{protocolVersion, capabilities, clientInfo: {name, version}}";
  }
  if (request.method === "logging/setLevel" && !isSpecType.SetLevelRequest(request)) {
    return "{level} with one of debug, info, notice, warning, error, critical, alert and emergency";
  }
  if (request.method !== "tools/call") return null;
  const { name, arguments: args = {} } = request.params ?? {};
  const isCall = typeof name === "string" && isObject(args) && !Array.isArray(args);
  return isCall ? null : "{name, arguments} with a text and an object";
}

/** A message has at most so many bytes: 8 MiB of files, which code takes as arguments, have room as base64 and as JSON's own text. */
export const maxMessageBytes = 16 * 1024 * 1024;

/** The id of a message that is none; null where none can be read. */
export function readId(value: unknown): RequestId | null {
  const id = isObject(value) && "id" in value ? value.id : null;
  return typeof id === "string" || (typeof id === "number" && Number.isSafeInteger(id)) ? id : null;
}

/**
 * The id of a request of which only the edges are known: the method stands before all that is nested, and the id there too or, as the
 * official clients write it, last. null where it is elsewhere, or where this may be an answer, whose id is one of ours.
 */
export function readLongId({ head, tail }: LongLine): RequestId | null {
  const first = new Map([...head.toString().matchAll(leadingMember)].map(([, name, value]) => [name, toScalar(value)]));
  if (typeof first.get("method") !== "string") return null;
  const last = toScalar(lastId.exec(tail.toString())?.[1]);
  // An id that stands twice has no single meaning.
  return first.has("id") && last !== undefined ? null : readId({ id: first.get("id") ?? last });
}

/** Members before the first that is nested; texts with escapes are no ids of any client. */
const leadingMember = /(?:^\s*\{|,)\s*"([^"\\]*)"\s*:\s*("[^"\\]*"|-?\d+)\s*(?=,)/gy;
/** The member before the brace that ends the line. A quote inside of a text has a backslash before it. */
const lastId = /,\s*"id"\s*:\s*("[^"\\]*"|-?\d+)\s*\}\s*$/;

const toScalar = (text: string | undefined): string | number | undefined =>
  text?.startsWith('"') === true ? text.slice(1, -1) : text && Number(text);

/** Whether a message that is none was meant as an answer: such a one is not answered, lest two sides do so for ever. */
export function isMeantAsAnswer(value: unknown): boolean {
  return isObject(value) && !("method" in value) && ("result" in value || "error" in value);
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

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

/** The id of a message that is none; null where none can be read. */
export function readId(value: unknown): RequestId | null {
  const id = isObject(value) && "id" in value ? value.id : null;
  return typeof id === "string" || (typeof id === "number" && Number.isSafeInteger(id)) ? id : null;
}

/** Whether a message that is none was meant as an answer: such a one is not answered, lest two sides do so for ever. */
export function isMeantAsAnswer(value: unknown): boolean {
  return isObject(value) && !("method" in value) && ("result" in value || "error" in value);
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

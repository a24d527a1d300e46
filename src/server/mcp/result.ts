import { type CallToolResult, ProtocolError, ProtocolErrorCode } from "@modelcontextprotocol/server";
import { CapstanError, errorCodes, toCapstanError, toText } from "../../core/error.ts";
import type { JsonObject } from "../../core/json.ts";
import { isJsonObject } from "../../core/json.ts";
import type { Block } from "../../core/event.ts";
import { answerBytes } from "../../tools/large-result.ts";
import { type ToolResult, toResult } from "../../tools/result.ts";
import type { Outcome } from "../../tools/tool.ts";

/** Where an error result says its code, for programs; the text says it for models. */
const codeKey = "dev.capstan/code";

/** A finished call as the result that goes out. One that would be too large says so instead; nothing is left out silently. */
export function toCallResult(outcome: Outcome): CallToolResult {
  const result = toResult(outcome);
  const bytes = measure(result);
  if (bytes > answerBytes) return tooLarge(bytes);
  return {
    content: result.content.map(toContent),
    ...(isJsonObject(result.structuredContent) ? { structuredContent: result.structuredContent } : {}),
    ...(result.isError === true ? { isError: true } : {}),
    ...(outcome.type === "done" && outcome.code !== undefined ? { _meta: { [codeKey]: outcome.code } } : {}),
  };
}

/**
 * A refused or failed call: a result that the model can read. Throws a protocol error for what is no such thing: a tool that does not
 * exist or a requestState that is not ours (-32602 in both eras), and a fault of ours (-32603).
 */
export function toFailedCall(thrown: unknown): CallToolResult {
  const error = toCapstanError(thrown);
  const isProtocol = error.code === "tool.unknown" || error.code === "permission.state_refused";
  if (isProtocol || isOurFault(error)) throw toProtocolError(error);
  return { content: [{ type: "text", text: toText(error) }], isError: true, _meta: { [codeKey]: error.code } };
}

/** An error of a method other than tools/call. A fault of ours never wears a code that blames the client. */
export function toProtocolError(thrown: unknown, data: JsonObject = {}): ProtocolError {
  if (thrown instanceof ProtocolError) return thrown;
  const error = toCapstanError(thrown);
  const isOurs = isOurFault(error) || errorCodes[error.code].http >= 500;
  const code = isOurs ? ProtocolErrorCode.InternalError : ProtocolErrorCode.InvalidParams;
  return new ProtocolError(code, toText(error), { code: error.code, ...data });
}

function isOurFault({ code }: CapstanError): boolean {
  const room = code.slice(0, code.indexOf("."));
  return room === "core" || room === "store" || room === "audit";
}

function tooLarge(bytes: number): CallToolResult {
  const error = new CapstanError(
    "tool.too_large",
    `The call was carried out, but its result has ${bytes} bytes as JSON, and an answer carries ${answerBytes}. ` +
      "Ask for less at a time.",
  );
  return toFailedCall(error);
}

/** The bytes of a result as JSON; an upper bound for the small ones, where counting would cost more than it tells. */
function measure(result: ToolResult): number {
  const json = JSON.stringify(result);
  // A UTF-16 unit is at most 3 bytes.
  return json.length * 3 <= answerBytes ? json.length * 3 : Buffer.byteLength(json);
}

/** A block as MCP writes it. */
export function toContent(block: Block): CallToolResult["content"][number] {
  switch (block.type) {
    case "resource_link": {
      const { bytes, ...link } = block;
      return { ...link, ...(bytes === undefined ? {} : { size: bytes }) };
    }
    case "resource": {
      const { type, annotations, uri, mimeType, text = "", blob } = block;
      const part = { uri, ...(mimeType === undefined ? {} : { mimeType }) };
      const resource = blob === undefined ? { ...part, text } : { ...part, blob };
      return { type, resource, ...(annotations === undefined ? {} : { annotations }) };
    }
    default:
      return block;
  }
}

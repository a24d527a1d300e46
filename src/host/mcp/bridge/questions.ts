import { CapstanError } from "../../../core/error.ts";
import { isJsonObject, type Json, type JsonObject } from "../../../core/json.ts";
import type { Answerer, InputRequest } from "../../../tools/tool.ts";
import { broken } from "../connection/peer.ts";
import { toInputRequest } from "../connection/questions.ts";

/** How many questions one answer of a server may hold. */
const maxQuestions = 32;
/** The client does not say that it can answer what the server would ask. */
const capabilityMissing = -32_021;

/** What a caller can answer, as a modern server is told it (2026-07-28, basic, `clientCapabilities`). */
export function toClientCapabilities(answerer: Answerer | undefined): JsonObject {
  const { form = false, url = false, sampling = false, roots = false } = answerer?.can ?? {};
  return {
    ...(form || url ? { elicitation: { ...(form ? { form: {} } : {}), ...(url ? { url: {} } : {}) } } : {}),
    ...(sampling ? { sampling: {} } : {}),
    ...(roots ? { roots: {} } : {}),
  };
}

/** The questions of an `input_required` result in our words; none where it only wants to be asked again. Throws `mcp.protocol`. */
export function toQuestions(server: string, inputRequests: Json | undefined): readonly InputRequest[] {
  const asked = Object.entries(isJsonObject(inputRequests) ? inputRequests : {});
  if (asked.length > maxQuestions) throw broken(server, `asks more than ${maxQuestions} questions at once`);
  return asked.map(([id, request]) => {
    const { method, params = {} } = isJsonObject(request) ? request : {};
    const known =
      typeof method === "string" && isJsonObject(params) ? toInputRequest(id, { method, params }) : undefined;
    if (known === undefined) throw broken(server, "asks what MCP does not know");
    return known;
  });
}

/** A question as it is shown: whoever answers must know which server asks. */
export function toShown(server: string, request: InputRequest): InputRequest {
  return "message" in request ? { ...request, message: `${server} asks: ${request.message}` } : request;
}

/** Whether the caller can answer a question. Without an answerer nobody can. */
export function canAnswer(answerer: Answerer | undefined, { type }: InputRequest): boolean {
  return answerer?.can[type] === true;
}

/**
 * What a modern server does not ask, because it was told that the caller can't answer it: questions without their words (2026-07-28,
 * basic, -32021). None where that is not why it refused.
 */
export function toUnasked(thrown: unknown, answerer: Answerer | undefined): readonly InputRequest[] {
  if (!(thrown instanceof CapstanError) || thrown.details["code"] !== capabilityMissing) return [];
  const { message, details } = thrown;
  const required = isJsonObject(details["data"]) ? details["data"]["requiredCapabilities"] : undefined;
  const { elicitation, sampling, roots } = isJsonObject(required) ? required : {};
  const { form, url } = isJsonObject(elicitation) ? elicitation : {};
  const isForm = elicitation !== undefined && (form !== undefined || url === undefined);
  const unasked: readonly InputRequest[] = [
    ...(isForm ? [{ id: "form", type: "form", message, schema: {} } as const] : []),
    ...(url === undefined ? [] : [{ id: "url", type: "url", message, url: "" } as const]),
    ...(sampling === undefined ? [] : [{ id: "sampling", type: "sampling", params: {} } as const]),
    ...(roots === undefined ? [] : [{ id: "roots", type: "roots" } as const]),
  ];
  return unasked.filter((request) => !canAnswer(answerer, request));
}

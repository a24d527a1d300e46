import { CapstanError } from "../../core/error.ts";
import { isJsonObject, type Json, type JsonObject } from "../../core/json.ts";
import { questionsInWords } from "../../tools/result.ts";
import type { Answerer, InputRequest } from "../../tools/tool.ts";
import { broken } from "./connection-peer.ts";
import { toInputRequest } from "./connection-questions.ts";

/** How many questions one answer of a server may hold. */
const maxQuestions = 32;

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

/** Throws `tool.input_needed` for questions that the caller can't answer. */
export function demandAnswerer(requests: readonly InputRequest[], answerer: Answerer | undefined): void {
  const beyond = requests.filter(({ type }) => answerer?.can[type] !== true);
  if (beyond.length === 0) return;
  throw new CapstanError(
    "tool.input_needed",
    `The call needs an answer that whoever made it can't give: ${questionsInWords(beyond).slice(0, 1_000)}`,
  );
}

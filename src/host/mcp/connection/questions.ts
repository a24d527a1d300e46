import { isJsonObject, type JsonObject } from "../../../core/json.ts";
import type { InputRequest } from "../../../tools/tool.ts";
import type { Question } from "./peer.ts";

/** Under which a pushed question of Capstan's own says, in `_meta`, the id that it has where both sides see one. */
export const questionIdKey = "dev.capstan/question";

const maxIdChars = 128;

type Answer = { readonly result: JsonObject } | { readonly error: { code: number; message: string } };

/** What a legacy client says at the start that it can answer. Whether somebody does is decided question by question. */
export const legacyCapabilities = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} };

/**
 * A question as MCP writes it (a pushed request, or one of `inputRequests`) in our words; undefined for what is none, or malformed.
 * What it says comes from the server and is not trusted.
 */
export function toInputRequest(
  id: string,
  asked: { readonly method: string; readonly params: JsonObject },
): InputRequest | undefined {
  const { _meta: _, ...params } = asked.params;
  const { message, mode, url, requestedSchema, elicitationId } = params;
  switch (asked.method) {
    case "elicitation/create":
      if (typeof message !== "string") return undefined;
      if (mode === "url") {
        if (typeof url !== "string") return undefined;
        return { id, type: "url", message, url, ...(typeof elicitationId === "string" ? { elicitationId } : {}) };
      }
      return isJsonObject(requestedSchema) ? { id, type: "form", message, schema: requestedSchema } : undefined;
    case "sampling/createMessage":
      return { id, type: "sampling", params };
    case "roots/list":
      return { id, type: "roots" };
    default:
      return undefined;
  }
}

/** Answers what a server asks by itself: `ping`, and questions for whoever sent the request that they belong to. */
export async function answerQuestion(question: Question, log: (line: string) => void): Promise<Answer> {
  const { method, params, owner } = question;
  if (method === "ping") return { result: {} };
  const given = isJsonObject(params["_meta"]) ? params["_meta"][questionIdKey] : undefined;
  const id = typeof given === "string" && given !== "" && given.length <= maxIdChars ? given : question.id;
  const asked = toInputRequest(id, { method, params });
  if (asked === undefined) return { error: { code: -32_601, message: "Method not found" } };
  if (owner?.ask === undefined) {
    log(
      `${method} was declined: ${owner === undefined ? "it is not clear whose call it is for" : "the caller can't answer"}`,
    );
    return decline(asked);
  }
  const answer = (await owner.ask([asked]))[id];
  return isJsonObject(answer) ? { result: withDefaults(asked, answer) } : decline(asked);
}

/** A form that was accepted, with its defaults where nothing was filled in (2025-11-25, client/elicitation, Requested Schema). */
function withDefaults(asked: InputRequest, answer: JsonObject): JsonObject {
  if (asked.type !== "form" || answer["action"] !== "accept") return answer;
  const { properties } = asked.schema;
  const defaults = Object.entries(isJsonObject(properties) ? properties : {}).flatMap(([key, field]) =>
    isJsonObject(field) && field["default"] !== undefined ? [[key, field["default"]] as const] : [],
  );
  const filled = isJsonObject(answer["content"]) ? answer["content"] : {};
  return { ...answer, content: { ...Object.fromEntries(defaults), ...filled } };
}

function decline({ type }: InputRequest): Answer {
  if (type === "form" || type === "url") return { result: { action: "decline" } };
  if (type === "roots") return { result: { roots: [] } };
  return { error: { code: -1, message: "The request was rejected" } };
}

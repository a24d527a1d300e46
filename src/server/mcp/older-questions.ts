import { type InputRequiredResult, type JSONRPCMessage, type JSONRPCResponse } from "@modelcontextprotocol/server";
import type { JsonObject } from "../../core/json.ts";
import { isJson } from "../../core/json.ts";
import type { Grant } from "../../permissions/grant.ts";

/** How long a question may stay unanswered: as long as what was sealed with it is good. */
const answerMs = 10 * 60 * 1000;

/** Questions as MCP writes them, by their keys. */
export type Requests = NonNullable<InputRequiredResult["inputRequests"]>;

/** The call that asks: under which grant, where its questions go, and when nobody wants their answers any more. */
interface Asker {
  readonly grant: Grant;
  readonly tell: (message: JSONRPCMessage) => void;
  readonly signal: AbortSignal;
}

interface Asked {
  readonly grant: Grant;
  readonly answer: (response: JSONRPCResponse) => void;
}

/** The questions that are pushed to an older client while the calls that ask them stay open. */
export interface OlderQuestions {
  /** The answers, by the keys of the questions. Throws where the client refuses one, leaves one for ten minutes, or cancels the call. */
  ask(requests: Requests, asker: Asker): Promise<JsonObject>;
  /** Takes an answer; false where no question of that id waits for one under this grant. */
  answer(response: JSONRPCResponse, grant: Grant): boolean;
}

export function openOlderQuestions(): OlderQuestions {
  /** By their ids, which some clients send back as text. */
  const asked = new Map<number, Asked>();
  let lastId = 0;

  return {
    async ask(requests, { grant, tell, signal }) {
      const failed = Promise.withResolvers<never>();
      const open = new Set<number>();
      const askOne = async ([key, request]: [string, Requests[string]]) => {
        const id = (lastId += 1);
        open.add(id);
        const { promise, resolve } = Promise.withResolvers<JSONRPCResponse>();
        asked.set(id, { grant, answer: resolve });
        tell({ jsonrpc: "2.0", id, ...request });
        const response = await promise;
        open.delete(id);
        if ("error" in response) throw new Error(response.error.message);
        return [key, isJson(response.result) ? response.result : null] as const;
      };
      const fail = (): void => failed.reject(signal.reason);
      const timer = setTimeout(() => failed.reject(new Error("No answer came in ten minutes.")), answerMs).unref();
      signal.addEventListener("abort", fail, { once: true });
      try {
        signal.throwIfAborted();
        return Object.fromEntries(
          await Promise.race([Promise.all(Object.entries(requests).map(askOne)), failed.promise]),
        );
      } finally {
        clearTimeout(timer);
        signal.removeEventListener("abort", fail);
        for (const requestId of open) {
          asked.delete(requestId);
          tell({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId } });
        }
      }
    },

    answer(response, grant) {
      const id = Number(response.id);
      const question = asked.get(id);
      if (question === undefined || !speaksFor(grant, question.grant)) return false;
      asked.delete(id);
      question.answer(response);
      return true;
    },
  };
}

/** Whether a grant may say what only the other one's holder can: it is the same, or one that the other was derived from. */
export const speaksFor = (grant: Grant, other: Grant): boolean =>
  grant.id === other.id || other.ancestors.some(({ id }) => id === grant.id);

import { z } from "zod";
import { CapstanError } from "../../../core/error.ts";
import type { Json, JsonObject } from "../../../core/json.ts";
import type { SourceContext } from "../../../tools/resource.ts";
import type { InputRequest } from "../../../tools/tool.ts";
import { sleep } from "../../sleep.ts";
import { canAnswer, toClientCapabilities, toQuestions, toShown, toUnasked } from "./questions.ts";
import { broken } from "../connection/peer.ts";
import type { Connection, ServerMethod } from "../connection/connection.ts";

/** How long a call of a legacy server stays open while a person thinks, as long as a question is good at the door. */
const heldMs = 10 * 60_000;
/** How many calls of one server may stay open so; the oldest ends for the next. */
const maxHeld = 256;
/** How long is waited for what a legacy server asks beside its first question: it sends each by itself. */
const gatherMs = 25;
/** How often a request is sent again to a modern server that asks nothing but to be asked again, and the first pause. */
const maxAgain = 8;
const pauseMs = 100;

/** What a request waits with until it is resumed: a modern server keeps its own state with us, a legacy one its open call. */
const State = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("asked"), requestState: z.string().optional() }),
  z.strictObject({ type: z.literal("held") }),
]);

export type Answered =
  | { readonly type: "done"; readonly result: JsonObject }
  | { readonly type: "waiting"; readonly requests: readonly InputRequest[]; readonly state: Json };

/** The requests to one server that may ask before they answer, whatever era it is of. Disposed of, all that are open have ended. */
export interface Asking extends Disposable {
  /**
   * Sends a request, or goes on with the one that waited under the same call and principal. Progress and log lines go to the context.
   * What the caller can't answer is declined if there is something else to ask; a request that asks nothing else has ended, and what it
   * waits for never comes. Throws `mcp.*` and the signal's reason.
   */
  request(connection: Connection, method: ServerMethod, params: JsonObject, context: SourceContext): Promise<Answered>;
}

interface Question {
  readonly request: InputRequest;
  readonly answer: (response: Json) => void;
}

/** One request that is open at the server, for whoever waits for it now. */
interface OpenRequest {
  readonly result: Promise<JsonObject>;
  readonly questions: Map<string, Question>;
  /** Resolves when there is a question. */
  asked: PromiseWithResolvers<void>;
  context: SourceContext | undefined;
  end(reason: unknown): void;
}

/** An open request whose questions, by their ids, are on their way to the caller. */
interface Held {
  readonly open: OpenRequest;
  readonly ids: readonly string[];
  release(): void;
}

/** `isNamed`: whether whoever is asked is told which server asks. */
export function openAsking(server: string, isNamed: boolean): Asking {
  const held = new Map<string, Held>();

  function start(
    connection: Connection,
    method: ServerMethod,
    params: JsonObject,
    context: SourceContext,
  ): OpenRequest {
    const ending = new AbortController();
    const questions = new Map<string, Question>();
    const open: OpenRequest = {
      questions,
      context,
      asked: Promise.withResolvers(),
      end: (reason) => ending.abort(reason),
      result: connection.request(method, params, {
        signal: ending.signal,
        onProgress: (progress) => open.context?.progress(progress),
        onLog: (entry) => open.context?.log(entry),
        clientCapabilities: toClientCapabilities(context.answerer),
        ask: (requests) => ask(open, requests),
      }),
    };
    const settle = (): void => decline(open, toAsked(open));
    open.result.then(settle, settle); // Whoever waits for it hears how it ended.
    return open;
  }

  /** What a legacy server asks while its request is open. */
  async function ask(open: OpenRequest, requests: readonly InputRequest[]): Promise<JsonObject> {
    const answers = requests.map(async (request) => {
      const { promise, resolve } = Promise.withResolvers<Json>();
      // Two questions of one id are one that was asked again.
      decline(open, [request]);
      open.questions.set(request.id, { request, answer: resolve });
      return [request.id, await promise] as const;
    });
    open.asked.resolve();
    return Object.fromEntries(await Promise.all(answers));
  }

  /** Waits for the end of a request or for its questions, with which it stays open. */
  async function follow(key: string, open: OpenRequest, context: SourceContext): Promise<Answered> {
    const { signal, answerer } = context;
    open.context = context;
    const onAbort = (): void => open.end(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      const result = await Promise.race([open.result, open.asked.promise]);
      if (result !== undefined) return { type: "done", result };
      await sleep(gatherMs, signal);
      const asked = toAsked(open);
      if (asked.length === 0) return { type: "done", result: await open.result };
      const requests = asked.filter((request) => canAnswer(answerer, request));
      const beyond = asked.filter((request) => !requests.includes(request));
      if (requests.length === 0) {
        open.end(overdue());
        return toWaiting(asked, { type: "held" });
      }
      hold(key, { open, ids: requests.map(({ id }) => id) }, answerer?.gone);
      decline(open, beyond);
      return toWaiting(requests, { type: "held" });
    } finally {
      signal.removeEventListener("abort", onAbort);
      open.context = undefined;
    }
  }

  function hold(key: string, holding: Omit<Held, "release">, gone: AbortSignal | undefined): void {
    const [oldest] = held.keys();
    if (held.size >= maxHeld && oldest !== undefined) drop(oldest, overdue());
    drop(key, overdue());
    const timer = setTimeout(() => drop(key, overdue()), heldMs).unref();
    const onGone = (): void => drop(key, gone?.reason);
    gone?.addEventListener("abort", onGone, { once: true });
    const release = (): void => {
      clearTimeout(timer);
      gone?.removeEventListener("abort", onGone);
      held.delete(key);
    };
    held.set(key, { ...holding, release });
    if (gone?.aborted === true) onGone();
  }

  function drop(key: string, reason: unknown): void {
    const found = held.get(key);
    found?.release();
    found?.open.end(reason);
  }

  /** The request that was held, with the answers on their way; what was not answered is declined. */
  function take(key: string, responses: JsonObject): OpenRequest {
    const found = held.get(key);
    if (found === undefined) throw overdue();
    found.release();
    const { open, ids } = found;
    open.asked = Promise.withResolvers();
    answerAll(open, ids, responses);
    // What came after those were asked is asked next.
    if (open.questions.size > 0) open.asked.resolve();
    return open;
  }

  const overdue = (): CapstanError => {
    const text = `The call of the MCP server ${server} that asked is not open any more. It may have been carried out in part. Make the call again.`;
    return new CapstanError("mcp.call_gone", text, { details: { server } });
  };
  const toWaiting = (requests: readonly InputRequest[], state: Json): Answered => ({
    type: "waiting",
    requests: isNamed ? requests.map((request) => toShown(server, request)) : requests,
    state,
  });

  return {
    async request(connection, method, params, context) {
      const { signal, answerer, principal, callId } = context;
      const key = JSON.stringify([principal.org, principal.user, callId]);
      const responses = context.resumed?.responses ?? {};
      const state = context.resumed === undefined ? undefined : State.parse(context.resumed.state);
      const asked =
        state?.type === "asked" ? { ...params, ...toRetry(state.requestState), inputResponses: responses } : params;
      let open = state?.type === "held" ? take(key, responses) : start(connection, method, asked, context);
      for (let again = 0; ; again += 1) {
        const answered = await follow(key, open, context).catch((thrown: unknown) => {
          const unasked = toUnasked(thrown, answerer);
          if (unasked.length === 0) throw thrown;
          return { type: "waiting", requests: unasked, state: { type: "held" } } as const;
        });
        if (answered.type === "waiting") return answered;
        const { resultType = "complete" } = answered.result;
        if (resultType !== "input_required") {
          // Older servers know nothing of it. Of newer ones, what is unknown is no result (2026-07-28, basic, `resultType`).
          if (resultType === "complete" || connection.era() !== "modern") return answered;
          throw broken(server, `answered ${method} with a resultType that Capstan does not know`);
        }
        const { inputRequests, requestState } = answered.result;
        const given = typeof requestState === "string" ? requestState : undefined;
        const requests = toQuestions(server, inputRequests);
        if (requests.length > 0) return toWaiting(requests, { type: "asked", ...toRetry(given) });
        if (given === undefined || again === maxAgain) throw broken(server, `wants ${method} again and again`);
        await sleep(pauseMs * 2 ** again, signal);
        open = start(connection, method, { ...params, ...toRetry(given) }, context);
      }
    },
    [Symbol.dispose]() {
      for (const key of [...held.keys()]) drop(key, overdue());
    },
  };
}

function answerAll({ questions }: OpenRequest, ids: readonly string[], responses: JsonObject): void {
  for (const id of ids) {
    questions.get(id)?.answer(Object.hasOwn(responses, id) ? (responses[id] ?? null) : null);
    questions.delete(id);
  }
}

const toAsked = ({ questions }: OpenRequest): readonly InputRequest[] =>
  [...questions.values()].map(({ request }) => request);

const decline = (open: OpenRequest, requests: readonly InputRequest[]): void =>
  answerAll(
    open,
    requests.map(({ id }) => id),
    {},
  );

/** What a modern server wants to see again (2026-07-28, basic/patterns/mrtr). */
const toRetry = (requestState: string | undefined): { readonly requestState?: string } =>
  requestState === undefined ? {} : { requestState };

import { z } from "zod";
import { CapstanError } from "../../core/error.ts";
import type { RawAnswer, Usage } from "../../core/event.ts";
import type { Json } from "../../core/json.ts";
import { sha256 } from "../../core/json.ts";
import type { ContextMessage } from "../../core/run.ts";
import { noUsage } from "../../core/usage.ts";
import type { ModelEvent, ModelRequest, Provider } from "../provider.ts";
import { saysContextFull } from "./context-full.ts";
import { openGuard } from "./wire-fetch.ts";

/**
 * Tokens as an endpoint counts them; null where it says none that can be: beyond a billion, sums and prices of counts would be no exact
 * numbers any more, and what can't be charged would stop the run.
 */
export const TokenCount = z.int().min(0).max(1e9).nullish().catch(null);

/** Where a wire leads, and with which key. */
export interface WireEndpoint {
  /** The name under which it is addressed. */
  readonly name: string;
  /** Without the path of the one call that is made. */
  readonly baseUrl: string;
  /** Missing: none is sent. */
  readonly apiKey?: string;
  /** The variable that holds it, for the user. */
  readonly apiKeyEnv?: string;
  /** How long it may stay silent, in ms, before a call counts as failed. */
  readonly silenceMs: number;
}

/** What a dialect makes one model call with. */
export interface WireCall {
  readonly baseUrl: string;
  /**
   * For the SDK, whose own headers, key, retries and signals count for nothing. It rejects for every status but 2xx; what it rejects with
   * is told to the user in any case, however the SDK wraps it.
   */
  readonly fetch: typeof fetch;
  /** Aborts with the caller's, and by silence. */
  readonly signal: AbortSignal;
  /** For `RawAnswer.wire`: dialect and endpoint, since what one endpoint has signed or encrypted another can't read. */
  readonly wire: string;
  /** `provider.bad_answer`: the endpoint sent `what`, which this dialect can't read. */
  badAnswer(what: string, cause?: unknown): CapstanError;
  /**
   * The endpoint said itself, in a stream that had begun well, that it failed: its words in one short line without the key. `usage`: what
   * it says that was used all the same.
   */
  broke(code: FailureCode, said: string, usage?: Usage): CapstanError;
}

type FailureCode = Extract<CapstanError["code"], `provider.${string}`>;

/** What one model API is beside another: its headers, its body and its stream. */
export interface Dialect {
  /** Its name in the config, as `type`. */
  readonly type: string;
  /** The content type of a streamed answer. */
  readonly contentType: string;
  /** The headers that the wire wants beside `content-type` and `accept`; the key's among them. */
  headers(apiKey: string | undefined): Readonly<Record<string, string>>;
  /** What to do where the endpoint answers 404, in a sentence. Missing: look at the model's name and the base URL. */
  missing?(model: string): string;
  /** What of a request it leaves out, in sentences for the user: they become notices of each answer. */
  validate(request: Pick<ModelRequest, "model" | "settings" | "answerSchema">): readonly string[];
  /** Begins one model call. Whatever this, or what it gives, throws becomes `provider.*`. */
  open(request: ModelRequest, call: WireCall): Promise<OpenAnswer>;
}

/**
 * An answer that comes in. What a dialect makes of it is no stream of its own: each one around another costs every chunk several turns of
 * the queue. `message.started` comes by itself before the first event.
 */
export interface OpenAnswer {
  /** As the SDK tells them. */
  readonly chunks: AsyncIterable<unknown>;
  /** What one more of them says. */
  push(chunk: unknown): readonly ModelEvent[];
  /** The last events once there are no more chunks; an answer without `message.ended` counts as cut. Missing: none. */
  end?(): readonly ModelEvent[];
  /** What the SDK threw, where this dialect knows better than others what it means. */
  toError?(thrown: unknown): unknown;
}

/** A provider that speaks `dialect` at `endpoint`. */
export function speak(dialect: Dialect, endpoint: WireEndpoint): Provider {
  const { name, baseUrl, apiKey = "" } = endpoint;
  return {
    name,
    metered: true,
    identity: sha256(JSON.stringify([dialect.type, baseUrl, apiKey])),
    validate: (request) => dialect.validate(request),
    stream: (request, signal) => stream(dialect, endpoint, request, signal),
  };
}

async function* stream(
  dialect: Dialect,
  endpoint: WireEndpoint,
  request: ModelRequest,
  signal: AbortSignal,
): AsyncGenerator<ModelEvent> {
  signal.throwIfAborted();
  using guard = openGuard(dialect, endpoint, request.model, signal);
  const { name, baseUrl } = endpoint;
  const call: WireCall = {
    baseUrl,
    fetch: guard.fetch,
    signal: guard.signal,
    wire: toWire(dialect, endpoint),
    badAnswer: (what, cause) => new CapstanError("provider.bad_answer", `${name} sent ${what}.`, { cause }),
    broke: (code, said, usage) => {
      const message = `${name} at ${baseUrl} broke off: ${guard.told(said)}.`;
      return new CapstanError(code, message, { details: { isFull: saysContextFull(said), usage } });
    },
  };
  for (const message of dialect.validate(request)) {
    yield { type: "notice", notice: { type: "degraded", model: `${name}:${request.model}`, message } };
  }
  let isStarted = false;
  let answer: OpenAnswer | undefined;
  try {
    answer = await dialect.open(request, call);
    for await (const chunk of answer.chunks) {
      // Not `yield*`, which waits for each of them once more.
      for (const event of answer.push(chunk)) {
        if (!isStarted) yield { type: "message.started" };
        isStarted = true;
        yield event;
        if (event.type === "message.ended") return;
      }
    }
    // Aborted, an SDK ends its stream as if it were complete.
    guard.signal.throwIfAborted();
    const last = answer.end?.() ?? [];
    if (last.at(-1)?.type !== "message.ended") {
      throw new CapstanError("provider.unavailable", `The answer of ${name} was cut before its end. Try again.`);
    }
    if (!isStarted) yield { type: "message.started" };
    for (const event of last) yield event;
  } catch (thrown) {
    signal.throwIfAborted();
    const failure = guard.failure() ?? toProviderError(answer?.toError?.(thrown) ?? thrown, call);
    // A request that is too long is no broken one: it can be said in fewer words.
    if (isStarted || failure.details["isFull"] !== true) throw failure;
    yield { type: "message.ended", parts: [], stop: "context_full", usage: noUsage };
  }
}

function toProviderError(thrown: unknown, call: WireCall): CapstanError {
  if (thrown instanceof CapstanError) return thrown;
  if (thrown instanceof SyntaxError) return call.badAnswer("something that is not JSON", thrown);
  // An SDK that met with another shape than it knows.
  if (thrown instanceof TypeError) return call.badAnswer("what can't be read", thrown);
  return call.broke("provider.unavailable", thrown instanceof Error ? thrown.message : "it gave no reason");
}

function toWire({ type }: Dialect, { baseUrl }: WireEndpoint): string {
  return `${type} at ${baseUrl}`;
}

/** An answer in the provider's own form, to go back to the same endpoint and model. */
export function toRaw(blocks: Json, { wire }: Pick<WireCall, "wire">, { model }: ModelRequest): RawAnswer {
  return { wire, model, blocks };
}

/** What the same endpoint and model said, in its own form; undefined where another one said it: then only `parts` go back. */
export function rawBlocks(
  message: ContextMessage & { readonly role: "assistant" },
  { wire }: Pick<WireCall, "wire">,
  { model }: Pick<ModelRequest, "model">,
): Json | undefined {
  const { raw } = message;
  return raw !== undefined && raw.wire === wire && raw.model === model ? raw.blocks : undefined;
}

/**
 * Gives each call of one answer an id of its own: the endpoint's where it says one that no earlier call has. Some say none, some the same
 * for every call.
 */
export function openCallIds(): (said: string | null | undefined) => string {
  const taken = new Set<string>();
  return (said) => {
    const first = said || `call_${taken.size}`;
    let id = first;
    for (let more = 1; taken.has(id); more += 1) id = `${first}_${more}`;
    taken.add(id);
    return id;
  };
}

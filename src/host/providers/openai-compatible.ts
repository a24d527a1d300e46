import type * as Sdk from "openai";
import { CapstanError } from "../../core/error.ts";
import type { ModelEvent, ModelRequest, Provider } from "../provider.ts";
import { openChatAnswer } from "./chat-answer.ts";
import { toChatBody } from "./chat-body.ts";

export interface ChatEndpoint {
  /** The name under which it is addressed. */
  readonly name: string;
  /** Up to and without `/chat/completions`. */
  readonly baseUrl: string;
  /** Missing: none is sent. */
  readonly apiKey?: string;
  /** How long it may stay silent before a call counts as failed. */
  readonly silenceMs: number;
}

/** The most bytes of one answer on the wire; a sane one stays far below. */
const maxAnswerBytes = 32 * 1024 * 1024;
/** How much of an endpoint's own error text is shown. */
const maxToldChars = 300;

/**
 * Chat Completions at any base URL, by the official SDK with its retries off. The SDK's own environment variables are not read: which
 * key goes where is said in the config alone.
 */
export function openaiCompatible(endpoint: ChatEndpoint): Provider {
  return { name: endpoint.name, metered: true, stream: (request, signal) => stream(endpoint, request, signal) };
}

async function* stream(endpoint: ChatEndpoint, request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelEvent> {
  const sdk = await import("openai");
  using watch = watchSilence(endpoint.silenceMs);
  const either = AbortSignal.any([signal, watch.signal]);
  try {
    const client = new sdk.OpenAI({
      baseURL: endpoint.baseUrl,
      // The SDK insists on a key; `guardedFetch` sends the real one or none.
      apiKey: "none",
      adminAPIKey: null,
      organization: null,
      project: null,
      webhookSecret: null,
      maxRetries: 0,
      timeout: 2 ** 31 - 1,
      logLevel: "off",
      fetch: guardedFetch(endpoint, watch.heard),
    });
    const sent = client.chat.completions.create(toChatBody(request), { signal: either });
    const { data: chunks, response } = await sent.withResponse();
    demandEventStream(response, endpoint);
    const answer = openChatAnswer(request);
    for await (const chunk of chunks) yield* answer.push(chunk);
    // Aborted, the SDK ends the stream as if it were complete.
    either.throwIfAborted();
    yield* answer.end();
  } catch (thrown) {
    signal.throwIfAborted();
    if (watch.signal.aborted) throw silent(endpoint);
    throw toProviderError(thrown, endpoint, sdk);
  }
}

/** Aborts after `silenceMs` without a call of `heard`. */
function watchSilence(silenceMs: number): Disposable & { readonly signal: AbortSignal; readonly heard: () => void } {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), silenceMs);
  return {
    signal: controller.signal,
    heard: () => void timer.refresh(),
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}

/** fetch with exactly the headers that the wire needs, a bound on the answer's size, and word of every byte that comes. */
function guardedFetch({ apiKey, name }: ChatEndpoint, heard: () => void): typeof fetch {
  const headers = {
    "content-type": "application/json",
    accept: "text/event-stream",
    ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
  };
  return async (url, init) => {
    const { status, statusText, headers: answered, body } = await fetch(url, { ...init, headers });
    heard();
    let bytes = 0;
    const bounded = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        heard();
        bytes += chunk.byteLength;
        if (bytes <= maxAnswerBytes) controller.enqueue(chunk);
        else controller.error(badAnswer(name, `more than ${maxAnswerBytes} bytes in one answer`));
      },
    });
    return new Response(body === null ? null : body.pipeThrough(bounded), { status, statusText, headers: answered });
  };
}

function demandEventStream(response: Response, { name, baseUrl }: ChatEndpoint): void {
  const type = response.headers.get("content-type") ?? "nothing";
  if (type.includes("text/event-stream")) return;
  throw badAnswer(
    name,
    `${type.slice(0, 80)} instead of an event stream; most base URLs end in /v1, and this one is ${baseUrl}`,
  );
}

function toProviderError(thrown: unknown, endpoint: ChatEndpoint, sdk: typeof Sdk): CapstanError {
  const { name, baseUrl } = endpoint;
  if (thrown instanceof CapstanError) return thrown;
  if (thrown instanceof SyntaxError) return badAnswer(name, "something that is not JSON", thrown);
  if (thrown instanceof sdk.APIError && typeof thrown.status === "number") return toStatusError(thrown, endpoint);
  const message = `${name} at ${baseUrl} can't be reached, or broke off. Check that it runs and that the base URL is right.`;
  return new CapstanError("provider.unavailable", message, { cause: thrown });
}

function toStatusError(error: InstanceType<typeof Sdk.APIError>, endpoint: ChatEndpoint): CapstanError {
  const { name, baseUrl, apiKey } = endpoint;
  const status = Number(error.status);
  const who = `${name} at ${baseUrl} answered ${status}`;
  const options = { cause: error };
  if (status === 401 || status === 403) {
    const next =
      apiKey === undefined
        ? `It wants a key: in capstan.yaml, set host.providers.${name}.baseUrl, and apiKeyEnv to the variable that holds the key.`
        : `It refused the key. Check the variable that host.providers.${name}.apiKeyEnv names.`;
    return new CapstanError("provider.sign_in", `${who}. ${next}`, options);
  }
  if (status === 429) {
    const details = { retryAfterMs: toRetryAfterMs(error.headers) };
    return new CapstanError("provider.rate_limited", `${who}: too many requests, or no credit left.`, {
      ...options,
      details,
    });
  }
  if (status === 408 || status === 409 || status >= 500) {
    return new CapstanError("provider.unavailable", `${who}: ${told(error, apiKey)}. Try again later.`, options);
  }
  const next = "Check the model's name and the base URL.";
  return new CapstanError("provider.bad_request", `${who}: ${told(error, apiKey)}. ${next}`, options);
}

/** `retry-after-ms`, or `retry-after` in seconds or as a date; 0 when it says nothing. */
function toRetryAfterMs(headers: Headers | undefined): number {
  const ms = Number(headers?.get("retry-after-ms") ?? Number.NaN);
  const after = headers?.get("retry-after") ?? "";
  const wait = [ms, Number(after || Number.NaN) * 1_000, Date.parse(after) - Date.now()].find(Number.isFinite) ?? 0;
  return Math.max(0, Math.ceil(wait));
}

/** The endpoint's own words: one line, short, and never its key. */
function told(error: Error, apiKey: string | undefined): string {
  const text = error.message.replace(/[\p{Cc}\p{Cf}]+/gu, " ").slice(0, maxToldChars);
  return apiKey === undefined ? text : text.replaceAll(apiKey, "[key]");
}

function silent({ name, baseUrl, silenceMs }: ChatEndpoint): CapstanError {
  const message = `${name} at ${baseUrl} was silent for ${silenceMs} ms. Try again, or raise host.providers.${name}.silenceMs.`;
  return new CapstanError("provider.timeout", message);
}

function badAnswer(name: string, what: string, cause?: unknown): CapstanError {
  return new CapstanError("provider.bad_answer", `${name} sent ${what}.`, { cause });
}

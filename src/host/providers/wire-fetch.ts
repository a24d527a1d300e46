import { longestMs } from "../../core/clock.ts";
import { CapstanError } from "../../core/error.ts";
import { redact } from "../../core/redact.ts";
import { noUsage } from "../../core/usage.ts";
import { saysContextFull } from "./context-full.ts";
import type { Dialect, WireEndpoint } from "./wire.ts";

/** The system's words for a connection that never came to be, so that nothing was sent and nothing used. */
const unsent: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** The most bytes of one answer on the wire; a sane one stays far below. */
const maxAnswerBytes = 32 * 1024 * 1024;
/** How much of an endpoint's error page is read, and how much of its words is shown. */
const maxErrorBytes = 64 * 1024;
const maxToldChars = 300;
/** How long such a page may take: its status is known already. */
const errorPageMs = 1_000;

const newline = 0x0a;
const carriageReturn = 0x0d;

/** Watches over one call. Disposing ends what is left of it. */
export interface Guard extends Disposable {
  readonly fetch: typeof fetch;
  readonly signal: AbortSignal;
  /** Why the guard ended the call, however an SDK tells it; undefined when it did not. */
  failure(): CapstanError | undefined;
  /** Somebody else's words: one line, short, and never the key. */
  told(text: string): string;
}

/**
 * A fetch for one call of a wire: with exactly the headers that the wire needs, so that no variable of an SDK sends anything; to the one
 * URL, since a redirect would carry context and key elsewhere; 32 MiB of answer at most; and a watch for silence, which every byte ends.
 * Bodies are handed on in whole messages: the decoders of SDKs look at all of a long one again with each piece of it.
 */
export function openGuard(dialect: Dialect, endpoint: WireEndpoint, model: string, signal: AbortSignal): Guard {
  const { name, apiKey, silenceMs } = endpoint;
  const { contentType } = dialect;
  const headers = { "content-type": "application/json", accept: contentType, ...dialect.headers(apiKey) };
  const ending = new AbortController();
  let failure: CapstanError | undefined;
  const end = (error: CapstanError): CapstanError => {
    failure ??= error;
    ending.abort(failure);
    return failure;
  };
  // Only the endpoint's silence counts, not that of whoever reads.
  let isAwaited = true;
  const timer = setTimeout(() => {
    if (isAwaited) end(silent(endpoint));
    else timer.refresh();
  }, silenceMs);
  const watch: Watch = {
    awaiting() {
      isAwaited = true;
      timer.refresh();
    },
    heard(bytes) {
      isAwaited = false;
      if (bytes > maxAnswerBytes) throw badAnswer(name, `more than ${maxAnswerBytes} bytes in one answer`);
    },
    broken: (cause) => end(cause instanceof CapstanError ? cause : brokenOff(cause, endpoint)),
  };
  const either = AbortSignal.any([signal, ending.signal]);
  const told = (text: string): string => toTold(text, apiKey);
  return {
    signal: either,
    failure: () => failure,
    told,
    async fetch(url, init) {
      const sent = fetch(url, { ...init, headers, redirect: "manual", signal: either });
      const response = await sent.catch((cause: unknown) => {
        throw end(unreachable(cause, endpoint));
      });
      watch.heard(0);
      const { status, statusText, body } = response;
      if (!response.ok) {
        clearTimeout(timer);
        throw end(await toStatusError(response, endpoint, dialect.missing?.(model)));
      }
      const type = response.headers.get("content-type") ?? "nothing";
      if (!type.includes(contentType)) throw end(otherType(type, dialect, endpoint));
      const isEvents = contentType === "text/event-stream";
      const messages = body === null ? null : toWholeMessages(body, isEvents, watch);
      return new Response(messages, { status, statusText, headers: response.headers });
    },
    [Symbol.dispose]() {
      clearTimeout(timer);
      ending.abort();
    },
  };
}

/** What is told to the guard of an answer that comes. */
interface Watch {
  awaiting(): void;
  /** Some came, `bytes` in all. Throws `provider.bad_answer` for too many. */
  heard(bytes: number): void;
  /** Reading failed: ends the call, and gives what it ended with. */
  broken(cause: unknown): CapstanError;
}

/**
 * The same bytes, cut between messages only: events of an event stream, or lines of JSON. What of a message there is when the stream ends
 * was cut off, and is left out, unless only the end of its last line is missing.
 */
function toWholeMessages(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  isEvents: boolean,
  watch: Watch,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = body.getReader();
  const [toEnd, isWhole] = isEvents ? [toEventEnd, isEvent] : [toLineEnd, isJsonText];
  let bytes = 0;
  let held = Buffer.alloc(0);
  let used = 0;
  /** Adds to the message that has begun. Room is doubled, so that a message in tiny pieces costs what it is long. */
  const hold = (added: Uint8Array): void => {
    if (used + added.length > held.length) {
      const larger = Buffer.alloc(Math.max(held.length * 2, used + added.length));
      held.copy(larger, 0, 0, used);
      held = larger;
    }
    held.set(added, used);
    used += added.length;
  };
  /** Takes the first bytes of what is held, and leaves the rest. */
  const take = (end: number): Buffer<ArrayBuffer> => {
    const taken = held.subarray(0, end);
    const rest = held.subarray(end, used);
    held = Buffer.alloc(0);
    used = 0;
    hold(rest);
    return taken;
  };
  return new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      async pull(controller) {
        try {
          for (;;) {
            watch.awaiting();
            const { value, done } = await reader.read();
            if (done) {
              const rest = take(used);
              if (isWhole(rest.toString())) controller.enqueue(rest);
              controller.close();
              return;
            }
            bytes += value.length;
            watch.heard(bytes);
            // Most chunks are whole messages.
            if (used === 0 && toEnd(value) === value.length) {
              controller.enqueue(value);
              return;
            }
            // The end of a message is three bytes at most, and may have begun before.
            const from = Math.max(0, used - 2);
            hold(value);
            const end = toEnd(held.subarray(from, used));
            if (end > 0) {
              controller.enqueue(take(from + end));
              return;
            }
          }
        } catch (cause) {
          throw watch.broken(cause);
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

/** Where the last message ends that is complete; 0 where none is. */
function toEventEnd(bytes: Uint8Array): number {
  for (let at = bytes.lastIndexOf(newline); at > 0; at = bytes.lastIndexOf(newline, at - 1)) {
    const before = bytes[at - 1];
    if (before === newline || (before === carriageReturn && bytes[at - 2] === newline)) return at + 1;
  }
  return 0;
}

function toLineEnd(bytes: Uint8Array): number {
  return bytes.lastIndexOf(newline) + 1;
}

/** Whether a rest of an event stream has all of its data: some servers forget the empty line at the very end. */
function isEvent(rest: string): boolean {
  return /(?:^|[\r\n])data:[^\r\n]+[\r\n]+$/.test(rest);
}

function isJsonText(rest: string): boolean {
  try {
    JSON.parse(rest);
    return true;
  } catch {
    return false;
  }
}

async function toStatusError(response: Response, endpoint: WireEndpoint, missing?: string): Promise<CapstanError> {
  const { name, baseUrl, apiKey, apiKeyEnv = "its variable" } = endpoint;
  const { status, headers } = response;
  const who = `${name} at ${baseUrl} answered ${status}`;
  const page = await readStart(response);
  const said = toTold(toSaid(page), apiKey);
  const words = said === "" ? who : `${who}: ${said}`;
  if (status === 401 || status === 403) {
    const next =
      apiKey === undefined
        ? `It wants a key: in capstan.yaml, set host.providers.${name}.baseUrl, and apiKeyEnv to the variable that holds the key.`
        : `It refused the key of ${apiKeyEnv}. Check that it is the right one, and that it may use the model.`;
    return new CapstanError("provider.sign_in", `${words}. ${next}`);
  }
  if (status === 402 || unpaid.test(page)) {
    const message = `${words}. No credit is left there: see to the account that the key belongs to.`;
    return new CapstanError("provider.sign_in", message);
  }
  // 413: the body is larger than is taken, whatever is in it.
  const isFull = status === 413 || saysContextFull(page);
  const details = { status, isFull, retryAfterMs: toRetryAfterMs(headers) };
  if (status === 429) {
    return new CapstanError("provider.rate_limited", `${words}. There were too many requests.`, { details });
  }
  if (status === 408 || status === 409 || status >= 500) {
    return new CapstanError("provider.unavailable", `${words}. Try again later.`, { details });
  }
  return new CapstanError("provider.bad_request", `${words}. ${toNext(status, missing)}`, {
    details: { status, isFull },
  });
}

/** What OpenAI says with a 429, which no waiting helps, and Anthropic with a 400. Gemini says of its limits per minute much the same. */
const unpaid = /"insufficient_quota"|\bcredit balance is too low\b/;

/** What to do about a request that was refused. */
function toNext(status: number, missing: string | undefined): string {
  if (status < 400) return "Name the base URL that it leads to; no redirect is followed.";
  return (status === 404 ? missing : undefined) ?? "Check the model's name and the base URL.";
}

/** The first bytes of a page as text. A page that breaks off or takes long says what came of it. */
async function readStart({ body }: Response): Promise<string> {
  const reader = body?.getReader();
  const stop = (): void => void reader?.cancel().catch(() => {});
  const timer = setTimeout(stop, errorPageMs);
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  try {
    for (;;) {
      const { value } = (await reader?.read()) ?? {};
      if (value === undefined || bytes >= maxErrorBytes) break;
      pieces.push(value);
      bytes += value.length;
    }
  } catch {
    // The status is known, and that is what counts.
  }
  clearTimeout(timer);
  stop();
  return Buffer.concat(pieces).toString("utf8", 0, maxErrorBytes);
}

/** The sentence in an error's body: `error.message` with most, `error` or `message` or `detail` with others; else its text. */
function toSaid(text: string): string {
  try {
    const body: unknown = JSON.parse(text);
    for (const path of [["error", "message"], ["error"], ["message"], ["detail"]]) {
      const said = path.reduce(fieldOf, body);
      if (typeof said === "string") return said;
    }
  } catch {
    // A page or a plain sentence.
  }
  return text;
}

function fieldOf(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null && key in value ? Reflect.get(value, key) : undefined;
}

/** `retry-after-ms`, or `retry-after` in seconds or as a date; 0 when it says nothing. Bounded, since it ends in the log. */
function toRetryAfterMs(headers: Headers): number {
  const ms = Number(headers.get("retry-after-ms") ?? Number.NaN);
  const after = headers.get("retry-after") ?? "";
  const wait = [ms, Number(after || Number.NaN) * 1_000, Date.parse(after) - Date.now()].find(Number.isFinite) ?? 0;
  return Math.min(longestMs, Math.max(0, Math.ceil(wait)));
}

function toTold(text: string, apiKey: string | undefined): string {
  const named = apiKey === undefined || apiKey === "" ? text : text.replaceAll(apiKey, "[key]");
  return redact(named)
    .slice(0, 4 * maxToldChars)
    .replace(/[\p{Cc}\p{Cf}\s]+/gu, " ")
    .slice(0, maxToldChars)
    .trim()
    .replace(/[.!]+$/, "");
}

function silent({ name, baseUrl, silenceMs }: WireEndpoint): CapstanError {
  const message = `${name} at ${baseUrl} was silent for ${silenceMs} ms. Try again, or raise host.providers.${name}.silenceMs.`;
  return new CapstanError("provider.timeout", message);
}

function unreachable(cause: unknown, { name, baseUrl }: WireEndpoint): CapstanError {
  const message = `${name} at ${baseUrl} can't be reached${toWhy(cause)}. Check that it runs and that the base URL is right.`;
  const isUnsent = unsent.has(codeOf(cause));
  return new CapstanError("provider.unavailable", message, {
    cause,
    ...(isUnsent ? { details: { usage: noUsage } } : {}),
  });
}

function brokenOff(cause: unknown, { name, baseUrl }: WireEndpoint): CapstanError {
  const message = `${name} at ${baseUrl} broke off in the middle of its answer${toWhy(cause)}. Try again.`;
  return new CapstanError("provider.unavailable", message, { cause });
}

/** The system's word for what happened, such as ECONNREFUSED, which `fetch` hides in the cause. */
function toWhy(thrown: unknown): string {
  const code = codeOf(thrown);
  return code === "" ? "" : ` (${code.slice(0, 40)})`;
}

function codeOf(thrown: unknown): string {
  const code = fieldOf(fieldOf(thrown, "cause"), "code");
  return typeof code === "string" ? code : "";
}

function otherType(type: string, { contentType }: Dialect, { name, baseUrl }: WireEndpoint): CapstanError {
  const what = `${type.slice(0, 80)} instead of ${contentType}; check the base URL, which is ${baseUrl}`;
  return badAnswer(name, what);
}

function badAnswer(name: string, what: string): CapstanError {
  return new CapstanError("provider.bad_answer", `${name} sent ${what}.`);
}

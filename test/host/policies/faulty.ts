import * as fc from "fast-check";
import { CapstanError, toCapstanError } from "../../../src/core/error.ts";
import type { ErrorCode } from "../../../src/core/error.ts";
import type { ModelNotice } from "../../../src/core/event.ts";
import { HostConfig } from "../../../src/host/config.ts";
import { openPolicies } from "../../../src/host/policies/all.ts";
import type { ModelEvent, ModelRequest, Provider } from "../../../src/host/provider.ts";
import { free, toEvents } from "../scripted.ts";
import { virtualTime } from "./virtual-time.ts";

/** How one attempt at a model ends. `deaf` hangs and does not heed its signal. */
export type Fate =
  | "answer"
  | "refusal"
  | "cut"
  | "hang"
  | "deaf"
  | { readonly code: ErrorCode; readonly retryAfterMs?: number };

const codes: readonly ErrorCode[] = [
  "provider.unavailable",
  "provider.timeout",
  "provider.rate_limited",
  "provider.bad_answer",
  "provider.bad_request",
  "provider.sign_in",
  "core.internal",
];

const turnedAway: ReadonlySet<string> = new Set<ErrorCode>([
  "provider.sign_in",
  "provider.unknown",
  "provider.bad_request",
  "provider.rate_limited",
]);

export const anyFate: fc.Arbitrary<Fate> = fc.oneof(
  fc.constantFrom<Fate>("answer", "refusal", "cut", "hang", "deaf"),
  fc.record({ code: fc.constantFrom(...codes), retryAfterMs: fc.constantFrom(0, 10, 500, 5_000, 100_000) }),
  fc.record({ code: fc.constantFrom<ErrorCode>("provider.unavailable", "provider.rate_limited") }),
);

/** A model whose attempts end as they are told to, and then answer. Each streams a word before its end. */
export function faulty(name: string, fates: readonly Fate[]): Provider & { readonly attempts: () => number } {
  let attempts = 0;
  async function* stream(_: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelEvent> {
    const fate = fates[attempts] ?? "answer";
    attempts += 1;
    signal.throwIfAborted();
    // Who is turned away gets no word.
    if (typeof fate === "object" && turnedAway.has(fate.code)) throw toFailure(fate);
    yield { type: "text.delta", text: `${name}${attempts} ` };
    if (fate === "cut") return;
    if (fate === "deaf") await new Promise(() => {});
    if (fate === "hang") await hang(signal);
    if (typeof fate === "object") throw toFailure(fate);
    const stop = fate === "refusal" ? "refusal" : "end";
    for (const event of toEvents({ text: `from ${name}`, stop })) {
      yield event.type === "message.ended" ? { ...event, usage: { ...free, output: 10 } } : event;
    }
  }
  function toFailure({ code, retryAfterMs }: Fate & object): CapstanError {
    const details = retryAfterMs === undefined ? {} : { retryAfterMs };
    return new CapstanError(code, `${name} failed.`, { details });
  }
  return { name, identity: name, metered: true, stream, attempts: () => attempts };
}

async function hang(signal: AbortSignal): Promise<never> {
  return await new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

export const simpleRequest: ModelRequest = {
  model: "m",
  messages: [{ role: "user", content: [{ type: "text", text: "Say something." }] }],
  tools: [],
  settings: {},
};

/** What came of one call. */
export interface Asked {
  readonly events: readonly ModelEvent[];
  readonly notices: readonly ModelNotice[];
  /** null: it was answered. */
  readonly error: CapstanError | null;
  readonly thrown: unknown;
}

/** Streams one call to its end. */
export async function ask(
  provider: Provider,
  request = simpleRequest,
  signal = new AbortController().signal,
): Promise<Asked> {
  const events: ModelEvent[] = [];
  let error: CapstanError | null = null;
  let thrown: unknown;
  try {
    for await (const event of provider.stream(request, signal)) events.push(event);
  } catch (reason) {
    thrown = reason;
    error = toCapstanError(reason);
  }
  return { events, error, thrown, notices: events.flatMap((event) => (event.type === "notice" ? [event.notice] : [])) };
}

/** Policies over models by their names, on a time of their own. */
export function openTestPolicies(models: Readonly<Record<string, Provider>>, config: object = {}) {
  const time = virtualTime();
  const opened: (string | undefined)[] = [];
  const policies = openPolicies({
    config: HostConfig.parse({ providers: { a: {}, x: {}, y: {}, z: {} }, ...config }),
    open(model, baseUrl) {
      opened.push(baseUrl);
      const provider = models[model];
      if (provider === undefined) throw new CapstanError("provider.sign_in", `No key for ${model}.`);
      return provider;
    },
    now: time.now,
    sleep: time.sleep,
    after: time.after,
  });
  return {
    ...policies,
    time,
    opened,
    ask: (model: string, request = simpleRequest) => time.until(ask(policies.openProvider(model), request)),
  };
}

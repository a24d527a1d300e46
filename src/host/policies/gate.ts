import type { ErrorCode } from "../../core/error.ts";
import { CapstanError, toCapstanError } from "../../core/error.ts";
import type { ModelNotice, Usage } from "../../core/event.ts";
import type { ModelEvent, ModelRequest, Provider } from "../provider.ts";

/** How a call ended: `left` by whoever made it, so that it says nothing about the endpoint. */
export type CallEnd =
  | { readonly type: "answered"; readonly usage: Usage }
  | { readonly type: "failed"; readonly code: ErrorCode }
  | { readonly type: "left" };

/** A call that was let in. */
export interface Passed {
  readonly notice?: ModelNotice;
  /** Gets the end of the call, once. Must not throw. */
  leave(end: CallEnd): ModelNotice | undefined;
}

/** Stands before an endpoint: resolves when a call may begin. Throws `provider.*` for one that may not; rejects with the signal's reason. */
export type Gate = (request: ModelRequest, signal: AbortSignal) => Promise<Passed>;

/**
 * Lets a call pass the gates in their order, and tells them how it ended in the opposite one; at once when the signal aborts, so that a
 * call that hangs in spite of it keeps no place. An answer that ends without `message.ended` was cut: `provider.unavailable`. Before
 * `message.started` nothing is sent.
 */
export function withGates(inner: Provider, gates: readonly Gate[]): Provider {
  async function* stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelEvent> {
    const passed: Passed[] = [];
    const leave = (end: CallEnd): readonly ModelEvent[] =>
      passed
        .splice(0)
        .reverse()
        .flatMap((gate) => toEvents(gate.leave(end)));
    let isMade = false;
    const onAbort = (): void => void leave(isMade ? toAborted(signal) : { type: "left" });
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      for (const gate of gates) {
        const through = await gate(request, signal);
        passed.push(through);
        yield* toEvents(through.notice);
      }
      signal.throwIfAborted();
      isMade = true;
      yield { type: "message.started" };
      for await (const event of inner.stream(request, signal)) {
        if (event.type === "message.ended") {
          yield* leave({ type: "answered", usage: event.usage });
          return yield event;
        }
        yield event;
      }
      signal.throwIfAborted();
      throw new CapstanError("provider.unavailable", "The model's answer was cut before its end. Try again.");
    } catch (thrown) {
      yield* leave(isMade ? toFailed(thrown) : { type: "left" });
      throw thrown;
    } finally {
      signal.removeEventListener("abort", onAbort);
      leave({ type: "left" });
    }
  }
  return { ...inner, stream };
}

const toEvents = (notice: ModelNotice | undefined): readonly ModelEvent[] =>
  notice === undefined ? [] : [{ type: "notice", notice }];

const toFailed = (thrown: unknown): CallEnd => ({ type: "failed", code: toCapstanError(thrown).code });

/** The end of its time is the endpoint's failure; every other abort is the caller's own. */
function toAborted(signal: AbortSignal): CallEnd {
  const end = toFailed(signal.reason);
  return end.type === "failed" && end.code === "provider.timeout" ? end : { type: "left" };
}

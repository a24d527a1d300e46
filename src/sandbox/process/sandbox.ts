import { CapstanError } from "../../core/error.ts";
import type { Isolation, Sandbox, SandboxSpec } from "../engine.ts";
import { conduct, takeGuest, type TakenGuest } from "./conduct.ts";
import type { Guest } from "./guest.ts";
import type { Lease } from "./pool.ts";

/** A sandbox around a guest that was taken from a pool. An abort of `closing`, which comes with the end of the engine, ends its run. */
export function toSandbox(
  { guest, end }: Lease<Guest>,
  { isSession = false }: SandboxSpec,
  isolation: Isolation,
  closing: AbortSignal,
): Sandbox {
  const disposing = new AbortController();
  let taken: TakenGuest | undefined;
  let isRunning = false;
  let isOver = false;
  return {
    async run(request, signal) {
      if (isRunning || isOver || disposing.signal.aborted) {
        const text =
          "A sandbox runs once, and that of a session one run after the other until it is over. Open another one.";
        throw new CapstanError("sandbox.bad_request", text);
      }
      isRunning = true;
      taken ??= takeGuest(guest, isSession);
      try {
        const stops = AbortSignal.any([signal, disposing.signal, closing]);
        const prepared = (await guest.prepare?.(request).catch(unlessStopped(stops))) ?? request;
        const result = await conduct(taken, prepared, isolation, stops);
        isOver = !isSession || result.isOver === true;
        return result;
      } finally {
        isRunning = false;
      }
    },
    async [Symbol.asyncDispose]() {
      // By now it may be somebody else's.
      if (disposing.signal.aborted) return;
      disposing.abort();
      end(taken === undefined);
    },
  };
}

/** A guest that was killed while it got ready did not fail: its run is told to be cancelled. */
const unlessStopped = (stops: AbortSignal) => (thrown: unknown) => {
  if (!stops.aborted) throw thrown;
  return undefined;
};

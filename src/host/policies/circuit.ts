import type { Clock } from "../../core/clock.ts";
import { CapstanError } from "../../core/error.ts";
import type { ErrorCode } from "../../core/error.ts";
import type { ModelNotice } from "../../core/event.ts";
import type { Circuit as CircuitConfig } from "./config.ts";
import type { CallEnd, Gate } from "./gate.ts";

/** `closed`: calls go through. `open`: none does. `half_open`: one tries whether the endpoint is back. */
export type CircuitState = (ModelNotice & { readonly type: "circuit" })["state"];

/** The failures that say that an endpoint is not well; after others it has at least answered. */
const illnesses: ReadonlySet<ErrorCode> = new Set(["provider.unavailable", "provider.timeout", "provider.bad_answer"]);

/** The health of one endpoint, as its calls have shown it. */
export interface Circuit {
  state(): CircuitState;
  /** Failures in a row that count. */
  failures(): number;
  /** Throws `provider.circuit_open`, before anything is sent, while the endpoint is left alone. `model` is for notices. */
  gate(model: string): Gate;
}

/**
 * Own, in place of cockatiel's breaker: that one wraps a function with one end, where a stream has a beginning and several; it counts
 * refused keys and cancelled calls as illness; and it reads the time itself.
 */
export function openCircuit({ failures, windowMs, openMs }: CircuitConfig, now: Clock): Circuit {
  let failedAt: readonly number[] = [];
  let openedAt: number | null = null;
  let isProbing = false;

  function state(): CircuitState {
    if (openedAt === null) return "closed";
    return isProbing || now() - openedAt >= openMs ? "half_open" : "open";
  }

  /** Whether the circuit has changed by this end. */
  function take(end: CallEnd, isProbe: boolean): "open" | "closed" | undefined {
    if (isProbe) isProbing = false;
    if (end.type === "left") return undefined;
    if (end.type === "answered" || !illnesses.has(end.code)) {
      failedAt = [];
      if (openedAt === null) return undefined;
      openedAt = null;
      return "closed";
    }
    const at = now();
    failedAt = [...failedAt.filter((time) => at - time <= windowMs), at].slice(-failures);
    // A call that began before the circuit opened does not keep it open for longer.
    if (openedAt !== null ? !isProbe : failedAt.length < failures) return undefined;
    openedAt = at;
    return "open";
  }

  return {
    state,
    failures: () => failedAt.length,
    gate: (model) => async () => {
      const before = state();
      const isProbe = before === "half_open" && !isProbing;
      if (before !== "closed" && !isProbe) throw leftAlone(model, (openedAt ?? 0) + openMs - now());
      isProbing ||= isProbe;
      return {
        ...(isProbe ? { notice: { type: "circuit", model, state: "half_open" } } : {}),
        leave(end) {
          const changed = take(end, isProbe);
          return changed === undefined ? undefined : { type: "circuit", model, state: changed };
        },
      };
    },
  };
}

function leftAlone(model: string, leftMs: number): CapstanError {
  const when = leftMs > 0 ? `for ${Math.ceil(leftMs / 1_000)} s more` : "until the call that tries it has ended";
  return new CapstanError(
    "provider.circuit_open",
    `The endpoint of ${model} has failed several times in a row and is left alone ${when}. Try again then, or use another model.`,
  );
}

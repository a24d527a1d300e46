import type { Clock } from "../../core/clock.ts";
import { CapstanError } from "../../core/error.ts";
import type { Slots } from "../../core/slots.ts";
import type { After } from "./deadline.ts";
import type { Gate } from "./gate.ts";

interface SlotParts {
  readonly slots: Slots;
  readonly queueMs: number;
  readonly model: string;
  readonly now: Clock;
  readonly after: After;
}

/** Waits for one of the places of an endpoint, in the order of the calls. Throws `provider.busy` when none came free in `queueMs`. */
export function slotGate({ slots, queueMs, model, now, after }: SlotParts): Gate {
  return async (_, signal) => {
    const startedAt = now();
    const late = new AbortController();
    const cancel = after(queueMs, () => late.abort(busy(model, queueMs)));
    try {
      const release = await slots.take(AbortSignal.any([signal, late.signal]));
      return {
        notice: { type: "slot_acquired", model, waitedMs: Math.round(now() - startedAt) },
        leave() {
          release();
          return undefined;
        },
      };
    } finally {
      cancel();
    }
  };
}

function busy(model: string, queueMs: number): CapstanError {
  return new CapstanError(
    "provider.busy",
    `No place for a call of ${model} came free within ${queueMs} ms. Try again later, or raise host.pacing in capstan.yaml.`,
  );
}

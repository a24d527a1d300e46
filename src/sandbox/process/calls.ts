import { type CallAnswer, answerCall, maxParallelCalls } from "../answer-call.ts";
import type { ExecRequest } from "../engine.ts";
import type { Guest } from "./guest.ts";
import type { Frame } from "./wire.ts";

/** Answers that a guest has not read yet. One that takes none is no program but an attack on our memory. */
const maxUnreadBytes = 16 * 1024 * 1024;

/** The way of one run's calls to the host. */
export interface HostCalls {
  /** Takes a call up; false: the guest lets answers pile up, and its run must end. Never throws. */
  take(call: Extract<Frame, { type: "call" }>): boolean;
}

const isOver: CallAnswer = { error: { code: "tool.cancelled", message: "The run that made this call has ended." } };

/**
 * Answers calls through `onCall`, no more than the limit in all. An abort of `signal`, which comes with the end of the run, reaches the
 * calls under way, and is the answer to all that have none: a later run of a session may wait for it. `pause` stops the run's clock.
 */
export function openCalls(
  { onCall, limits }: Pick<ExecRequest, "onCall" | "limits">,
  guest: Pick<Guest, "orders" | "answers">,
  { signal, pause }: { readonly signal: AbortSignal; readonly pause: () => Disposable },
): HostCalls {
  const queue: (() => Promise<void>)[] = [];
  const open = new Set<(given: CallAnswer) => void>();
  signal.addEventListener("abort", () => open.forEach((answer) => answer(isOver)), { once: true });
  let taken = 0;
  let running = 0;

  const next = () => {
    if (running >= maxParallelCalls) return;
    const work = queue.shift();
    if (work === undefined) return;
    running += 1;
    void work().finally(() => {
      running -= 1;
      next();
    });
  };

  return {
    take({ id, name, argsJson, blocking }) {
      const pipe = blocking ? guest.orders : guest.answers;
      const answer = (given: CallAnswer) => {
        if (open.delete(answer) && pipe.writable) pipe.write(toLine(id, given));
      };
      open.add(answer);
      if (onCall !== undefined && taken >= limits.calls) {
        const message = `This code may make ${limits.calls} calls, and has made them.`;
        answer({ error: { code: "budget.calls", message } });
      } else {
        taken += 1;
        queue.push(async () => {
          if (!signal.aborted) answer(await answerCall(onCall, { name, argsJson }, signal, pause));
        });
        next();
      }
      return pipe.writableLength <= maxUnreadBytes;
    },
  };
}

/** An Answer of wire.ts. A value is JSON text already. */
function toLine(id: number, { valueJson, error }: CallAnswer): string {
  if (error !== undefined) return `${JSON.stringify({ id, error })}\n`;
  return `{"id":${id},"value":${valueJson}}\n`;
}

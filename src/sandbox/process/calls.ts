import { CapstanError, toCapstanError } from "../../core/error.ts";
import type { Json } from "../../core/json.ts";
import type { ExecRequest } from "../engine.ts";
import type { Guest } from "./guest.ts";
import { type Answer, type Frame, isShallow, maxCallBytes } from "./wire.ts";

/** Calls of one run that the host works on at a time; the others wait their turn. */
const maxParallel = 16;
/** Answers that a guest has not read yet. One that takes none is no program but an attack on our memory. */
const maxUnreadBytes = 16 * 1024 * 1024;

/** The way of one run's calls to the host. */
export interface HostCalls {
  /** Takes a call up; false: the guest lets answers pile up, and its run must end. Never throws. */
  take(call: Extract<Frame, { type: "call" }>): boolean;
}

/**
 * Answers calls through `onCall`, no more than the limit in all. An abort of `signal`, which comes with the end of the run, reaches the
 * calls under way; what they answer later goes nowhere.
 */
export function openCalls(
  request: Pick<ExecRequest, "onCall" | "limits">,
  guest: Pick<Guest, "orders" | "answers">,
  signal: AbortSignal,
): HostCalls {
  const { onCall, limits } = request;
  const queue: (() => Promise<void>)[] = [];
  let taken = 0;
  let running = 0;

  const next = () => {
    if (running >= maxParallel) return;
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
      const answer = (line: Answer) => {
        if (!signal.aborted && pipe.writable) pipe.write(`${JSON.stringify(line)}\n`);
      };
      const refuse = (thrown: unknown) => {
        const { code, message } = toCapstanError(thrown);
        answer({ id, error: { code, message } });
      };
      try {
        if (onCall === undefined) throw new CapstanError("permission.no_right", "This code may not call tools.");
        if (taken >= limits.calls) {
          throw new CapstanError("budget.calls", `This code may make ${limits.calls} calls, and has made them.`);
        }
        const args = parseArguments(argsJson);
        taken += 1;
        queue.push(async () => {
          if (signal.aborted) return;
          await onCall(name, args, signal).then((value) => answer({ id, value }), refuse);
        });
        next();
      } catch (thrown) {
        refuse(thrown);
      }
      return pipe.writableLength <= maxUnreadBytes;
    },
  };
}

function parseArguments(json: string): Json {
  if (Buffer.byteLength(json) > maxCallBytes || !isShallow(json)) {
    throw new CapstanError(
      "tool.bad_arguments",
      `The arguments of a call may have ${maxCallBytes} bytes, not nested deeply.`,
    );
  }
  try {
    const args: Json = JSON.parse(json);
    return args;
  } catch (cause) {
    throw new CapstanError("tool.bad_arguments", "The arguments of a call must be JSON.", { cause });
  }
}

import { toCapstanError } from "../../core/error.ts";
import type { Amounts } from "../../core/limits.ts";
import type { Grant } from "../../permissions/grant.ts";
import type { ExecLimits, ExecResult } from "../../sandbox/engine.ts";
import { smallest } from "../amounts.ts";
import { toFailure } from "../result.ts";
import type { CallContext, Outcome } from "../tool.ts";
import type { Input } from "./schema.ts";

const mebibyte = 1024 * 1024;

/**
 * The smallest of what is configured, what the call asks for, what the grant and its ancestors allow, and what was reserved of it; before
 * that, what to reserve.
 */
export function toLimits(
  most: ExecLimits,
  { timeoutMs, memoryMb }: Input,
  grant: Grant,
  reserved: Amounts = {},
): ExecLimits {
  const least = (...amounts: readonly (number | undefined)[]): number =>
    Math.max(1, Math.min(...amounts.map((amount) => amount ?? Infinity)));
  return {
    ...most,
    wallMs: least(most.wallMs, timeoutMs, smallest(grant, "wallMs"), reserved.wallMs),
    cpuMs: least(most.cpuMs, smallest(grant, "cpuMs"), reserved.cpuMs),
    memoryBytes: least(
      most.memoryBytes,
      memoryMb === undefined ? undefined : memoryMb * mebibyte,
      smallest(grant, "memoryBytes"),
    ),
  };
}

/** Of the time that a run may take or took, what the grant counts. */
export function toAmounts(
  grant: Grant,
  { wallMs, cpuMs }: { readonly wallMs: number; readonly cpuMs: number },
): Amounts {
  return {
    ...(smallest(grant, "wallMs") === undefined ? {} : { wallMs }),
    ...(smallest(grant, "cpuMs") === undefined ? {} : { cpuMs }),
  };
}

/** The result of a run, which says so where it was ended for the processor time of its grant and not for that of the config. */
export function explainEnd(result: ExecResult, { cpuMs }: ExecLimits, most: ExecLimits): ExecResult {
  const { status, error = "", usage } = result;
  if (status !== "timeout" || cpuMs >= most.cpuMs || usage.cpuMs < cpuMs) return result;
  const why = `budget.cpu: Its grant left it ${cpuMs} ms of CPU time. Use a grant with a higher limit.`;
  return { ...result, error: `${error}\n${why}` };
}

/** Runs a call; where it fails before `begin` was called, so that no code has run, it gives the processor time back. */
export function settlingUnused<I, O>(
  run: (args: I, context: CallContext, begin: () => void) => Promise<Outcome<O>>,
): (args: I, context: CallContext) => Promise<Outcome<O>> {
  return async (args, context) => {
    let hasBegun = false;
    const begin = (): void => {
      hasBegun = true;
    };
    const ended = await run(args, context, begin).catch((thrown: unknown) => {
      const failure = toCapstanError(thrown);
      // A request that nobody could run did not begin.
      if (failure.code === "sandbox.bad_request") hasBegun = false;
      if (hasBegun || context.signal.aborted || failure.code === "core.internal") throw thrown;
      return toFailure(failure);
    });
    const isFree = !hasBegun && ended.type === "done" && smallest(context.grant, "cpuMs") !== undefined;
    return isFree ? { ...ended, usage: { cpuMs: 0 } } : ended;
  };
}

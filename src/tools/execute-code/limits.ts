import type { Amounts } from "../../core/limits.ts";
import type { Grant } from "../../permissions/grant.ts";
import type { ExecLimits } from "../../sandbox/engine.ts";
import { smallest } from "../amounts.ts";
import type { Input } from "./schema.ts";

const mebibyte = 1024 * 1024;

/** The smallest of what is configured, what the call asks for, and what the grant and its ancestors allow. */
export function toLimits(most: ExecLimits, { timeoutMs, memoryMb }: Input, grant: Grant): ExecLimits {
  const least = (...amounts: readonly (number | undefined)[]): number =>
    Math.max(1, Math.min(...amounts.map((amount) => amount ?? Infinity)));
  return {
    ...most,
    wallMs: least(most.wallMs, timeoutMs, smallest(grant, "wallMs")),
    cpuMs: least(most.cpuMs, smallest(grant, "cpuMs")),
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

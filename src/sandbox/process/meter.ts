import { readFileSync } from "node:fs";

/** Clock ticks a second in /proc: fixed by Linux for what users see. */
const ticksPerSecond = 100;

/** What a process has used since it started, as the kernel counts. */
export interface Reading {
  readonly cpuMs: number;
  readonly residentBytes: number;
  readonly peakBytes: number;
}

/** Reads the kernel's counts of a process; null where there is no /proc, or where the process has ended. */
export function readMeter(pid: number): Reading | null {
  try {
    // The name, in parentheses, may hold anything; the fields are counted behind it.
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]) * 1024;
    const residentBytes = bytes("VmRSS");
    const peakBytes = bytes("VmHWM");
    // A process that has ended and that nobody has waited for yet is still listed, without its memory.
    if (Number.isNaN(residentBytes) || Number.isNaN(peakBytes)) return null;
    const cpuMs = ((Number(fields[11]) + Number(fields[12])) * 1_000) / ticksPerSecond;
    return { cpuMs, residentBytes, peakBytes };
  } catch {
    return null;
  }
}

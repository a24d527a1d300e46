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
    const cpuMs = readCpuMs(pid);
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]) * 1024;
    const residentBytes = bytes("VmRSS");
    const peakBytes = bytes("VmHWM");
    // A process that has ended and that nobody has waited for yet is still listed, without its memory.
    if (Number.isNaN(residentBytes) || Number.isNaN(peakBytes)) return null;
    return { cpuMs, residentBytes, peakBytes };
  } catch {
    return null;
  }
}

/** The processor time of a process and of those that it has waited for; also of one that nobody has waited for. Throws without one. */
export function readCpuMs(pid: number): number {
  // The name, in parentheses, may hold anything; the fields are counted behind it.
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = fields.slice(11, 15).reduce((total, field) => total + Number(field), 0);
  return (ticks * 1_000) / ticksPerSecond;
}

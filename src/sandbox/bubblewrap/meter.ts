import { readFileSync } from "node:fs";
import { descendants } from "../process/freeze.ts";
import { readCpuMs, type Reading, readMeter } from "../process/meter.ts";

/**
 * Counts what a process and all that came of it use, those included that it has outlived. `pid` is the first process of a namespace, which
 * inherits what loses its parent and waits for it.
 */
export function openTreeMeter(pid: number): () => Reading | null {
  let peakBytes = 0;
  return () => {
    if (readMeter(pid) === null) return null;
    const pids = [pid, ...descendants(pid)];
    const living = pids.flatMap((one) => readMeter(one) ?? []);
    // Memory that processes share is in the count of each; with more than the program and its keeper, what is counted is their part.
    const isShared = living.length > 2;
    const residentBytes = isShared ? sum(pids.map(readShare)) : sum(living.map((one) => one.residentBytes));
    const mostBytes = isShared ? residentBytes : sum(living.map((one) => one.peakBytes));
    peakBytes = Math.max(peakBytes, mostBytes);
    return { cpuMs: sum(pids.map(readTime)), residentBytes, peakBytes };
  };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);

function readTime(pid: number): number {
  try {
    return readCpuMs(pid);
  } catch {
    return 0; // By now it has ended, and its time is in that of who waited for it.
  }
}

/** The memory of a process, shared parts divided by how many share them. */
function readShare(pid: number): number {
  try {
    const kilobytes = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "latin1"))?.[1];
    return Number(kilobytes ?? 0) * 1024;
  } catch {
    return readMeter(pid)?.residentBytes ?? 0;
  }
}

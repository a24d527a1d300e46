import { readFileSync, statfsSync } from "node:fs";
import { descendants } from "../process/freeze.ts";
import { readCpuMs, type Reading, readMeter } from "../process/meter.ts";

/** What the kernel keeps for a file that holds nothing. */
const entryBytes = 1024;

/**
 * Counts what a process and all that came of it use, those included that it has outlived. `pid` is the first process of a namespace, which
 * inherits what loses its parent and waits for it. The files in its `folders` are memory too.
 */
export function openTreeMeter(pid: number, folders: readonly string[]): () => Reading | null {
  let peakBytes = 0;
  return () => {
    if (readMeter(pid) === null) return null;
    const pids = [pid, ...descendants(pid)];
    const living = pids.flatMap((one) => readMeter(one) ?? []);
    // Memory that processes share is in the count of each; with more than the program and its keeper, what is counted is their part.
    const isShared = living.length > 2;
    const filesBytes = sum(folders.map((folder) => readFiles(`/proc/${pid}/root${folder}`)));
    const residentBytes =
      filesBytes + (isShared ? sum(pids.map(readShare)) : sum(living.map((one) => one.residentBytes)));
    const mostBytes = isShared ? residentBytes : filesBytes + sum(living.map((one) => one.peakBytes));
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

/** What the files of a file system in memory take. */
function readFiles(folder: string): number {
  try {
    const { blocks, bfree, bsize, files, ffree } = statfsSync(folder);
    return (blocks - bfree) * bsize + (files - ffree) * entryBytes;
  } catch {
    return 0; // The process has ended.
  }
}

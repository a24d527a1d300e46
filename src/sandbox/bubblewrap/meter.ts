import { readFileSync, statfsSync } from "node:fs";
import { descendants } from "../process/freeze.ts";
import { readCpuMs, type Reading, readMeter } from "../process/meter.ts";

/** What the kernel keeps for a file that holds nothing. */
const entryBytes = 1024;
/** Below this it is not worth telling what processes share: for that the kernel walks all memory of each. */
const modestBytes = 64 * 1024 * 1024;
/** Reading a hundred processes takes milliseconds of Capstan's own thread, which are this part of its time at most. */
const readingShare = 0.25;
/** How often a sum of processor time that fell is looked at again: a process that ended or changed its parent meanwhile was missed. */
const maxLooks = 3;

/**
 * Counts what a process and all that came of it use, those included that it has outlived. `pid` is the first process of a namespace, which
 * inherits what loses its parent and waits for it. The files in its `folders` are memory too. Asked again too soon, it answers as before.
 */
export function openTreeMeter(pid: number, folders: readonly string[]): () => Reading | null {
  let peakBytes = 0;
  let last: Reading | null = null;
  let restUntil = 0;
  let lastCpuMs = 0;
  let lostCpuMs = 0;
  const readTimes = (others: readonly number[]): number => sum([pid, ...others].map(readTime));
  return () => {
    const startedAt = performance.now();
    if (startedAt < restUntil) return last;
    last = read();
    const endedAt = performance.now();
    restUntil = endedAt + (endedAt - startedAt) * (1 / readingShare - 1);
    return last;
  };

  function read(): Reading | null {
    const first = readMeter(pid);
    if (first === null) return null;
    const others = descendants(pid);
    const living = [first, ...others.flatMap((one) => readMeter(one) ?? [])];
    // Memory that processes share is in the count of each.
    const all = sum(living.map((one) => one.residentBytes));
    const isShared = living.length > 2 && all > modestBytes;
    const filesBytes = sum(folders.map((folder) => readFiles(`/proc/${pid}/root${folder}`)));
    const residentBytes = filesBytes + (isShared ? sum([pid, ...others].map(readShare)) : all);
    const mostBytes = living.length > 2 ? residentBytes : filesBytes + sum(living.map((one) => one.peakBytes));
    peakBytes = Math.max(peakBytes, mostBytes);
    const isWhole = living.length > others.length;
    const cpuMs = keepTime(isWhole ? sum(living.map((one) => one.cpuMs)) : readTimes(others));
    return { cpuMs, residentBytes, peakBytes };
  }

  /** The time of a process whose parent does not care for its end goes with it, and the sum falls; but it was used. */
  function keepTime(found: number): number {
    let cpuMs = found;
    for (let looks = 1; looks < maxLooks && cpuMs < lastCpuMs; looks += 1) {
      cpuMs = Math.max(cpuMs, readTimes(descendants(pid)));
    }
    lostCpuMs += Math.max(0, lastCpuMs - cpuMs);
    lastCpuMs = cpuMs;
    return cpuMs + lostCpuMs;
  }
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

import { readdirSync, readFileSync } from "node:fs";

/**
 * Stops a process and all that it started, or lets them go on. A stopped process starts nothing, so passes over its children end: what
 * was started between two of them is found by the next. Only Linux tells the children; elsewhere it is the process alone.
 */
export function freezeTree(pid: number, isFrozen: boolean): void {
  if (!isFrozen) return thawTree(pid);
  const done = new Set<number>();
  for (let found: readonly number[] = [pid]; found.length > 0;) {
    for (const one of found) {
      done.add(one);
      freeze(one, true);
    }
    found = descendants(pid).filter((one) => !done.has(one));
  }
}

/**
 * Nothing moves until the first goes on, so one look finds them all; another would find what they start from then on, without an end. The
 * children go first: while their parent stands still, nobody gets the number of one that has ended.
 */
function thawTree(pid: number): void {
  for (const one of [pid, ...descendants(pid)].toReversed()) freeze(one, false);
}

/** What a process started and what came of that, as far as it is there now; those that lost their parent are found at who inherited them. */
export function descendants(pid: number): number[] {
  const children = childrenOf(pid);
  return [...children, ...children.flatMap(descendants)];
}

function childrenOf(pid: number): number[] {
  return listed(() => readdirSync(`/proc/${pid}/task`)).flatMap((thread) =>
    listed(() => readFileSync(`/proc/${pid}/task/${thread}/children`, "latin1").split(" ").filter(Boolean).map(Number)),
  );
}

/** Nothing where the process or the thread has ended, or where there is no such list. */
function listed<T>(list: () => T[]): T[] {
  try {
    return list();
  } catch {
    return [];
  }
}

/** Stops one process, or lets it go on. */
export function freeze(pid: number, isFrozen: boolean): void {
  try {
    process.kill(pid, isFrozen ? "SIGSTOP" : "SIGCONT");
  } catch {
    // It has ended.
  }
}

import { readdirSync, readFileSync } from "node:fs";

/** When it is looked again: a list of children may miss one whose parent ends in that moment, and its children after it. */
const laterMs = [1, 3, 10, 30, 100, 300, 1_000];
/** Who is not caught by so many looks is left to the next time. */
const maxLooks = 1_000;

/**
 * Stops a process and all that it started, and answers how to let them go on. A stopped process starts nothing, so looks at its children come
 * to an end: what was started between two of them is found by the next. `isThere`: whether the number is still that of the process. Only
 * Linux tells the children; elsewhere it is the process alone.
 */
export function freezeTree(pid: number, isThere: () => boolean): () => void {
  const done = new Set<number>();
  const findMoving = (): number[] => [pid, ...descendants(pid)].filter((one) => !done.has(one));
  const stopAll = (): void => {
    let moving = isThere() ? findMoving() : [];
    for (let look = 0; look < maxLooks && moving.length > 0; look += 1) {
      for (const one of moving) {
        done.add(one);
        freeze(one, true);
      }
      moving = findMoving();
    }
  };
  stopAll();
  const timers = laterMs.map((ms) => setTimeout(stopAll, ms).unref());
  return () => {
    timers.forEach(clearTimeout);
    thawTree(pid);
  };
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

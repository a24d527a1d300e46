import { access, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import type { Clock } from "../core/clock.ts";
import { CapstanError } from "../core/error.ts";
import type { Scope } from "../core/scope.ts";
import type { Knowledge } from "./knowledge.ts";
import { openKnowledge } from "./knowledge.ts";

/** The name of a graph within a scope. */
export const GraphName = z.string().regex(/^[a-z0-9-]{1,40}$/, "expected 1 to 40 of a-z, 0-9 and -");

/** The graphs of a home: one file per scope and name, opened when it is first used. Disposing lets calls end, then closes all. */
export interface Graphs extends AsyncDisposable {
  /**
   * Opens a graph for as long as `act` runs, and makes it when it is missing. Throws what opening and `act` throw.
   */
  write<T>(scope: Scope, name: string, act: (knowledge: Knowledge) => Promise<T>): Promise<T>;
  /** The same, but a graph that is missing stays so, and the answer is null. */
  read<T>(scope: Scope, name: string, act: (knowledge: Knowledge) => Promise<T>): Promise<T | null>;
}

/** Graphs that are kept open after use; each may hold up to 64 MiB of its file in memory. */
const maxIdle = 4;

interface Open {
  readonly knowledge: Promise<Knowledge>;
  users: number;
}

/** Makes nothing yet: the folder and its files come with the first write. */
export function openGraphs({ folder, clock }: { folder: string; clock: Clock }): Graphs {
  /** In order of use, the longest unused first. */
  const open = new Map<string, Open>();
  const running = new Set<Promise<unknown>>();
  let closed = false;

  const enter = (path: string): Open => {
    const known = open.get(path);
    if (known !== undefined) return known;
    const entry = { knowledge: openKnowledge({ path, clock }), users: 0 };
    // A file that could not be opened is tried anew next time; whoever waits for it gets the error.
    entry.knowledge.catch(() => open.delete(path));
    return entry;
  };

  const demandOpen = (): void => {
    if (closed) throw new CapstanError("store.unavailable", "The graphs are closed. Start Capstan again.");
  };

  const use = async <T>(path: string, act: (knowledge: Knowledge) => Promise<T>): Promise<T> => {
    demandOpen();
    const entry = enter(path);
    open.delete(path);
    open.set(path, entry);
    entry.users += 1;
    const acting = entry.knowledge.then(act);
    running.add(acting);
    try {
      return await acting;
    } finally {
      running.delete(acting);
      entry.users -= 1;
      await closeIdle();
    }
  };

  const closeIdle = async (): Promise<void> => {
    const idle = [...open].filter(([, { users }]) => users === 0);
    for (const [path, { knowledge }] of closed ? idle : idle.slice(0, -maxIdle)) {
      open.delete(path);
      await (await knowledge)[Symbol.asyncDispose]();
    }
  };

  return {
    async write(scope, name, act) {
      demandOpen();
      const path = toPath(folder, scope, name);
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      return use(path, act);
    },
    async read(scope, name, act) {
      demandOpen();
      const path = toPath(folder, scope, name);
      return (await exists(path)) ? use(path, act) : null;
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      await Promise.allSettled(running);
      await closeIdle();
    },
  };
}

/**
 * The file of a graph. The names of a scope are letters, digits and `._@-`, and differ in case, which some file systems do not: a
 * capital becomes `+` and its small letter.
 */
function toPath(folder: string, { org, project }: Scope, name: string): string {
  if (!GraphName.safeParse(name).success) {
    throw new CapstanError(
      "knowledge.bad_query",
      `The name of a graph is 1 to 40 of a-z, 0-9 and -, not ${JSON.stringify(name.slice(0, 60))}.`,
    );
  }
  const toFolder = (part: string): string => part.replaceAll(/[A-Z]/g, (letter) => `+${letter.toLowerCase()}`);
  return join(folder, toFolder(org), toFolder(project), `${name}.db`);
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}

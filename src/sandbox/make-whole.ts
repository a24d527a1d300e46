import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** Making takes some seconds: what is older was begun by a process that is gone. */
const draftMs = 3_600_000;
/** A folder that no process began to use for so long is of what went: a version, a set of wheels. Whoever still runs it makes it again. */
const unusedMs = 30 * 24 * 3_600_000;

/**
 * Sees to it that there is a file or a folder at `path` (`KIND-HASH`): where it is missing, `make` makes it at another path, so that it
 * appears whole or not at all. What else of its kind is old is swept. Rejects with what `make` throws; nothing is left behind then.
 */
export async function makeWhole(path: string, make: (draft: string) => Promise<void>): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  try {
    if (!existsSync(path)) {
      await make(draft);
      await rename(draft, path);
    }
  } catch (thrown) {
    await rm(draft, { recursive: true, force: true });
    // Another process may have been faster; what it made is as good.
    if (!existsSync(path)) throw thrown;
  }
  await sweepBeside(path);
}

/**
 * Marks `made` (`KIND-HASH`) as used now, and removes what else of its kind stands beside it: what makers that were killed and earlier
 * versions left. Nothing else is touched, and what can't be removed stays: never rejects.
 */
async function sweepBeside(made: string): Promise<void> {
  const now = Date.now();
  const folder = dirname(made);
  const [kind] = basename(made).split("-");
  const one = new RegExp(`^${kind}-[0-9a-f]{32}(\\.[0-9a-f-]{36})?$`);
  const names = await readdir(folder).catch(() => []);
  await utimes(made, now / 1_000, now / 1_000).catch(() => {});
  for (const name of names) {
    const [found, draft] = one.exec(name) ?? [];
    if (found === undefined || name === basename(made)) continue;
    const path = join(folder, name);
    const isOld = await stat(path).then(
      ({ mtimeMs }) => now - mtimeMs > (draft === undefined ? unusedMs : draftMs),
      () => false,
    );
    if (isOld) await rm(path, { recursive: true, force: true }).catch(() => {});
  }
}

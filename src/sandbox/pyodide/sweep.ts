import { readdir, rm, stat, utimes } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** Making takes some seconds: what is older was begun by a process that is gone. */
const draftMs = 3_600_000;
/** A folder that no process began to use for so long is of what went: a version, a set of wheels. Whoever still runs it makes it again. */
const unusedMs = 30 * 24 * 3_600_000;

/**
 * Marks `made` (`KIND-HASH`) as used now, and removes what else of its kind stands beside it: what makers that were killed and earlier
 * versions left. Nothing else is touched, and what can't be removed stays: never rejects.
 */
export async function sweepBeside(made: string): Promise<void> {
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

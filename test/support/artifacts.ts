import { join } from "node:path";
import type { Clock } from "../../src/core/clock.ts";
import { systemClock } from "../../src/core/clock.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import type { ArtifactLimits } from "../../src/tools/artifacts.ts";
import { openArtifacts } from "../../src/tools/artifacts.ts";
import { tempFolder } from "./temp.ts";

/** Artifacts over a real store of their own. */
export async function openTestArtifacts({
  clock = systemClock,
  limits,
}: { clock?: Clock; limits?: ArtifactLimits } = {}) {
  await using opened = new AsyncDisposableStack();
  const folder = opened.use(await tempFolder());
  const store = opened.use(await openSqliteStore({ path: join(folder.path, "state.db"), clock }));
  const open = () => openArtifacts({ store, clock, ...(limits === undefined ? {} : { limits }) });
  const owned = opened.move();
  return { store, artifacts: open(), open, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

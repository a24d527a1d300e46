import { join } from "node:path";
import type { Clock } from "../../src/core/clock.ts";
import { systemClock } from "../../src/core/clock.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import type { ArtifactLimits } from "../../src/tools/artifacts.ts";
import { openArtifacts } from "../../src/tools/artifacts.ts";
import { ToolsConfig, toArtifactLimits } from "../../src/tools/config.ts";
import { openTestSessions } from "./sessions.ts";
import { tempFolder } from "./temp.ts";

/** Artifacts and sessions over a real store of their own. */
export async function openTestArtifacts({
  clock = systemClock,
  limits = toArtifactLimits(ToolsConfig.parse({})),
}: { clock?: Clock; limits?: ArtifactLimits } = {}) {
  await using opened = new AsyncDisposableStack();
  const folder = opened.use(await tempFolder());
  const store = opened.use(await openSqliteStore({ path: join(folder.path, "state.db"), clock }));
  const open = () => openArtifacts({ store, clock, limits });
  const sessions = opened.use(openTestSessions(store, clock));
  const owned = opened.move();
  return { store, artifacts: open(), sessions, open, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

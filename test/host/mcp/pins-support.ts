import { join } from "node:path";
import { systemClock } from "../../../src/core/clock.ts";
import type { Json } from "../../../src/core/json.ts";
import { localScope } from "../../../src/core/scope.ts";
import type { WireTool } from "../../../src/host/mcp/connection/connection.ts";
import type { PinnedServer } from "../../../src/host/mcp/pins/pins.ts";
import { openPins } from "../../../src/host/mcp/pins/pins.ts";
import { openSqliteStore } from "../../../src/store/sqlite.ts";
import { tempFolder } from "../../support/temp.ts";

export const launch = { command: "node", args: ["server.js"], env: { TOKEN: "s3cret", MODE: "fast" }, cwd: "/srv" };

/** A tool as a server lists it, with all that a pin covers and some that it does not. */
export const listed = (name: string, over: Readonly<Record<string, Json>> = {}): WireTool => ({
  title: `Title of ${name}`,
  description: `What ${name} does`,
  outputSchema: { type: "object", properties: { n: { type: "number" } } },
  annotations: { readOnlyHint: true },
  icons: [{ src: "https://example.com/i.png" }],
  _meta: { any: "thing" },
  ...over,
  name,
  inputSchema: { type: "object", properties: { a: { type: "string" }, b: { type: "number" } } },
});

export const namesOf = ({ tools }: PinnedServer): readonly string[] => tools.map(({ definition }) => definition.name);

/** Pins over the real store of a folder; the same folder gives the same pins. */
export async function openPinsAt(folder: string) {
  const store = await openSqliteStore({ path: join(folder, "state.db"), clock: systemClock });
  return {
    store,
    pins: openPins({ store, scope: localScope }),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

/** The same in a folder of its own. */
export async function openTestPins() {
  await using opened = new AsyncDisposableStack();
  const folder = opened.use(await tempFolder());
  const { pins, store } = opened.use(await openPinsAt(folder.path));
  const owned = opened.move();
  return { pins, store, folder: folder.path, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

import { existsSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../core/clock.ts";
import { localScope } from "../core/scope.ts";
import type { Pins, PinCounts } from "../host/mcp/pins/pins.ts";
import { openPins } from "../host/mcp/pins/pins.ts";
import { openHome } from "../permissions/keys.ts";
import { openSqliteStore } from "../store/sqlite.ts";

/** What is pinned of each server; nothing of servers that were never started. Starts nothing, and makes no home. */
export async function countPins(home: string): Promise<ReadonlyMap<string, PinCounts>> {
  return (await withPins(home, (pins) => pins.counts())) ?? new Map();
}

/** Whatever comes under the server's name next is new. */
export async function forgetPins(home: string, server: string): Promise<void> {
  await withPins(home, (pins) => pins.forget(server));
}

async function withPins<T>(home: string, use: (pins: Pins) => Promise<T>): Promise<T | undefined> {
  const path = join(home, "state.db");
  if (!existsSync(path)) return undefined;
  await openHome(home);
  await using store = await openSqliteStore({ path, clock: systemClock });
  return await use(openPins({ store, scope: localScope }));
}

import type { Scope } from "../../../core/scope.ts";
import type { Store } from "../../../store/store.ts";
import type { Bridge, BridgeServices } from "./bridge.ts";

/**
 * Opens the bridge to the servers of the config; undefined where it names none, as in most homes, which then don't pay for what connects
 * to servers. Throws `store.*`.
 */
export async function bridgeServers(
  services: Omit<BridgeServices, "pins"> & { readonly store: Store; readonly scope: Scope },
): Promise<Bridge | undefined> {
  if (Object.keys(services.config.servers).length === 0) return undefined;
  const [{ openBridge }, { openPins }] = await Promise.all([import("./bridge.ts"), import("../pins/pins.ts")]);
  return await openBridge({ ...services, pins: openPins(services) });
}

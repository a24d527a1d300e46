import type { Clock } from "../../src/core/clock.ts";
import { systemClock } from "../../src/core/clock.ts";
import { SandboxConfig, toSessionLimits } from "../../src/sandbox/config.ts";
import type { Store } from "../../src/store/store.ts";
import { openSessions } from "../../src/tools/sessions.ts";
import type { Sessions, SessionsOptions } from "../../src/tools/sessions.ts";

/** The sessions of one process over a store, within the default limits where nothing else is said. */
export function openTestSessions(
  store: Store,
  clock: Clock = systemClock,
  limits: Partial<SessionsOptions["limits"]> = {},
): Sessions {
  return openSessions({ store, clock, limits: { ...toSessionLimits(SandboxConfig.parse({})), ...limits } });
}

import { CapstanError } from "../core/error.ts";
import { strengthOf } from "../core/isolation.ts";
import type { SandboxConfig } from "./config.ts";
import type { Engine } from "./engine.ts";

type Offer = Pick<SandboxConfig, "engines" | "isolation">;

/** Why the config offers no code an engine, as a clause; undefined: it offers it. */
export function whyNotOffered({ name, level }: Engine, { engines, isolation }: Offer): string | undefined {
  if (!engines.some((offered) => offered === name)) return "sandbox.engines leaves it out";
  return strengthOf(level) < strengthOf(isolation) ? `sandbox.isolation asks for ${isolation}` : undefined;
}

/** Those that are installed, so that nobody is told of languages that nothing runs; all, where that would be none. */
export function installedEngines(engines: readonly Engine[]): readonly Engine[] {
  const installed = engines.filter(({ isInstalled }) => isInstalled?.() !== false);
  return installed.length > 0 ? installed : engines;
}

/**
 * The engines that the config offers, in its order, none weaker than it says. Throws `config.bad_value` where that leaves none, so that
 * nobody waits for the first call to learn it.
 */
export function offeredEngines(engines: readonly Engine[], offer: Offer): readonly Engine[] {
  const place = (engine: Engine): number => offer.engines.findIndex((name) => name === engine.name);
  const offered = engines.filter((engine) => whyNotOffered(engine, offer) === undefined);
  if (offered.length > 0) return offered.toSorted((a, b) => place(a) - place(b));
  throw new CapstanError(
    "config.bad_value",
    `No engine of sandbox.engines (${offer.engines.join(", ")}) is as strong as sandbox.isolation: ${offer.isolation}. ` +
      "Name a stronger engine, or ask for less; docs/sandbox.md has the levels.",
  );
}

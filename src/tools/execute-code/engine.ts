import { CapstanError } from "../../core/error.ts";
import type { IsolationLevel } from "../../core/isolation.ts";
import { strengthOf } from "../../core/isolation.ts";
import type { Engine, Language, Sandbox, SandboxSpec } from "../../sandbox/engine.ts";

/** The languages that some engine speaks, in the order of the engines. */
export function languagesOf(engines: readonly Engine[]): readonly Language[] {
  return [...new Set(engines.flatMap(({ languages }) => languages))];
}

/** The strongest level at which some engine can run this; undefined when none can. */
export function strongest(engines: readonly Engine[], wanted: SandboxSpec): IsolationLevel | undefined {
  const levels = engines.filter((engine) => isAble(engine, wanted)).map(({ level }) => level);
  return levels.sort((a, b) => strengthOf(b) - strengthOf(a))[0];
}

/**
 * Opens a sandbox in the first engine that can run something, at a level or a stronger one, and that works here. Throws
 * `sandbox.unavailable`, which says of each that can why it does not work.
 */
export async function openFirst(
  engines: readonly Engine[],
  spec: SandboxSpec,
  weakest: IsolationLevel,
  signal: AbortSignal,
): Promise<Sandbox> {
  const problems: string[] = [];
  for (const engine of engines) {
    if (!isAble(engine, spec) || strengthOf(engine.level) < strengthOf(weakest)) continue;
    try {
      return await engine.open(spec, signal);
    } catch (thrown) {
      signal.throwIfAborted();
      if (!(thrown instanceof CapstanError && thrown.code === "sandbox.unavailable")) throw thrown;
      const missing = await engine.probe(signal);
      problems.push(`${engine.name}: ${missing === null ? thrown.message : `${missing.reason} ${missing.remedy}`}`);
    }
  }
  const what = [
    spec.language,
    ...(spec.isSession === true ? ["in a session"] : []),
    ...(spec.isNetworked === true ? ["with a network"] : []),
  ].join(" ");
  throw new CapstanError(
    "sandbox.unavailable",
    problems.length > 0
      ? `Nothing here runs ${what} now. ${problems.join(" ")}`
      : `No engine runs ${what} at isolation ${weakest} or stronger. See capstan doctor for what to install.`,
  );
}

/** As `demandAble` of the port: the language, and what else is asked for. */
function isAble(
  { languages, can }: Engine,
  { language, isSession = false, isNetworked = false }: SandboxSpec,
): boolean {
  return languages.includes(language) && (!isSession || can.sessions) && (!isNetworked || can.network);
}

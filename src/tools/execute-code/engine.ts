import { CapstanError } from "../../core/error.ts";
import type { IsolationLevel } from "../../core/isolation.ts";
import { strengthOf } from "../../core/isolation.ts";
import type { Engine, Language, SandboxSpec } from "../../sandbox/engine.ts";

/** The languages that some engine speaks, in the order of the engines. */
export function languagesOf(engines: readonly Engine[]): readonly Language[] {
  return [...new Set(engines.flatMap(({ languages }) => languages))];
}

/** The strongest level at which some engine can run this; undefined when none can. */
export function strongest(engines: readonly Engine[], spec: SandboxSpec): IsolationLevel | undefined {
  const levels = engines.filter((engine) => isAble(engine, spec)).map(({ level }) => level);
  return levels.sort((a, b) => strengthOf(b) - strengthOf(a))[0];
}

/**
 * Finds the first engine that can run something, at a level or a stronger one, and that works here; each is tried before its first use.
 * Throws `sandbox.unavailable`, which says of each that can why it does not work.
 */
export function openEngineFinder(engines: readonly Engine[]) {
  const working = new Set<Engine>();
  return async (spec: SandboxSpec, weakest: IsolationLevel, signal: AbortSignal): Promise<Engine> => {
    const problems: string[] = [];
    for (const engine of engines) {
      if (!isAble(engine, spec) || strengthOf(engine.level) < strengthOf(weakest)) continue;
      const problem = working.has(engine) ? null : await engine.probe(signal);
      if (problem === null) {
        working.add(engine);
        return engine;
      }
      problems.push(`${engine.name}: ${problem.reason} ${problem.remedy}`);
    }
    const what = [
      spec.language,
      ...(spec.isSession === true ? ["in a session"] : []),
      ...(spec.allowConnect === undefined ? [] : ["with a network"]),
    ].join(" ");
    throw new CapstanError(
      "sandbox.unavailable",
      problems.length > 0
        ? `Nothing here runs ${what} now. ${problems.join(" ")}`
        : `No engine runs ${what} at isolation ${weakest} or stronger. See capstan doctor for what to install.`,
    );
  };
}

/** As `demandAble` of the port: the language, and what else is asked for. */
function isAble({ languages, can }: Engine, { language, isSession = false, allowConnect }: SandboxSpec): boolean {
  return languages.includes(language) && (!isSession || can.sessions) && (allowConnect === undefined || can.network);
}

import { CapstanError } from "../../core/error.ts";
import type { IsolationLevel } from "../../core/isolation.ts";
import { isolationLevels } from "../../core/isolation.ts";
import type { Engine, Language } from "../../sandbox/engine.ts";

const strengthOf = (level: IsolationLevel): number => isolationLevels.indexOf(level);

/** The strongest level among engines; undefined when there are none. */
export function strongest(engines: readonly Engine[]): IsolationLevel | undefined {
  return engines.map(({ level }) => level).sort((a, b) => strengthOf(b) - strengthOf(a))[0];
}

/** Finds the first engine that speaks a language at a level or a stronger one, and works here; each is tried before its first use. */
export function openEngineFinder(engines: readonly Engine[]) {
  const working = new Set<Engine>();
  return async (language: Language, weakest: IsolationLevel, signal: AbortSignal): Promise<Engine> => {
    const problems: string[] = [];
    for (const engine of engines) {
      if (!engine.languages.includes(language) || strengthOf(engine.level) < strengthOf(weakest)) continue;
      const problem = working.has(engine) ? null : await engine.probe(signal);
      if (problem === null) {
        working.add(engine);
        return engine;
      }
      problems.push(`${engine.name}: ${problem.reason}. ${problem.remedy}`);
    }
    throw new CapstanError(
      "sandbox.unavailable",
      problems.length > 0
        ? `Nothing here runs ${language} now. ${problems.join(" ")}`
        : `No engine runs ${language} at isolation ${weakest} or stronger. See capstan doctor for what to install.`,
    );
  };
}

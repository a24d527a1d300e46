import { CapstanError } from "../core/error.ts";
import { IsolationLevel, isolationLevels } from "../core/isolation.ts";
import type { Limits } from "../core/limits.ts";
import type { NarrowOptions } from "../permissions/narrow.ts";
import { parseCount, parseDuration, parseMicroUsd } from "./amounts.ts";
import { toRoots } from "./roots.ts";

/** The options of `grant create` and `grant derive`. */
export interface GrantOptions {
  readonly allow?: readonly string[];
  readonly read?: readonly string[];
  readonly write?: readonly string[];
  readonly host?: readonly string[];
  readonly resource?: readonly string[];
  readonly prompt?: readonly string[];
  readonly language?: readonly string[];
  readonly isolation?: string;
  readonly session?: readonly string[];
  readonly ask?: readonly string[];
  readonly tainted?: readonly string[];
  readonly approve?: readonly string[];
  readonly calls?: string;
  readonly tokens?: string;
  readonly costUsd?: string;
  readonly cpu?: string;
  readonly time?: string;
  readonly bytes?: string;
  readonly memoryMb?: string;
  readonly depth?: string;
  readonly parallel?: string;
  readonly ttl?: string;
  readonly name?: string;
}

/** What the options leave of a grant. `languages` are those that some engine speaks. Throws `usage.bad_option`. */
export async function toNarrowing(options: GrantOptions, languages: readonly string[]): Promise<NarrowOptions> {
  const { allow, read, write, host, resource, prompt, language, isolation, session, ask, tainted, approve } = options;
  const { ttl } = options;
  demandLanguages(language, languages);
  return {
    ...(allow === undefined ? {} : { allow }),
    ...(read === undefined ? {} : { read: await toRoots(read, "--read") }),
    ...(write === undefined ? {} : { write: await toRoots(write, "--write") }),
    ...(host === undefined ? {} : { hosts: host }),
    ...(resource === undefined ? {} : { resources: resource }),
    ...(prompt === undefined ? {} : { prompts: prompt }),
    ...(language === undefined ? {} : { languages: language }),
    ...(isolation === undefined ? {} : { isolation: parseLevel(isolation) }),
    ...(session === undefined ? {} : { sessions: session }),
    ...(ask === undefined ? {} : { ask }),
    ...(tainted === undefined ? {} : { tainted }),
    ...(approve === undefined ? {} : { approve }),
    ...(ttl === undefined ? {} : { ttlMs: parseDuration(ttl) }),
    limits: toLimits(options),
  };
}

function toLimits(options: GrantOptions): Limits {
  const { calls, tokens, costUsd, cpu, time, bytes, memoryMb, depth, parallel } = options;
  return {
    ...(calls === undefined ? {} : { calls: parseCount(calls) }),
    ...(tokens === undefined ? {} : { tokens: parseCount(tokens) }),
    ...(costUsd === undefined ? {} : { costMicroUsd: parseMicroUsd(costUsd) }),
    ...(cpu === undefined ? {} : { cpuMs: parseDuration(cpu) }),
    ...(time === undefined ? {} : { wallMs: parseDuration(time) }),
    ...(bytes === undefined ? {} : { bytes: parseCount(bytes) }),
    ...(memoryMb === undefined ? {} : { memoryBytes: toBytes(parseCount(memoryMb)) }),
    ...(depth === undefined ? {} : { depth: parseCount(depth) }),
    ...(parallel === undefined ? {} : { parallel: parseCount(parallel) }),
  };
}

/** More than a number can say is no limit either. */
const toBytes = (megabytes: number): number => Math.min(megabytes * 1024 * 1024, Number.MAX_SAFE_INTEGER);

/** A language that no engine runs is a slip of the pen: a grant for it would allow nothing. */
function demandLanguages(languages: readonly string[] | undefined, known: readonly string[]): void {
  for (const language of languages ?? []) {
    if (known.includes(language)) continue;
    throw new CapstanError(
      "usage.bad_option",
      `--language takes ${known.join(", ")}, not ${JSON.stringify(language.slice(0, 80))}.`,
    );
  }
}

function parseLevel(text: string): IsolationLevel {
  const { data } = IsolationLevel.safeParse(text);
  if (data !== undefined) return data;
  throw new CapstanError(
    "usage.bad_option",
    `--isolation takes the weakest level that code may run at, one of ${isolationLevels.join(", ")}, not ${JSON.stringify(text.slice(0, 80))}.`,
  );
}

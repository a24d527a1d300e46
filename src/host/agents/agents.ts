import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { CapstanError, toCapstanError } from "../../core/error.ts";
import { fit } from "../../core/issue.ts";
import { canonicalJson, sha256 } from "../../core/json.ts";
import { nearest } from "../../core/nearest.ts";
import type { Scope } from "../../core/scope.ts";
import { quote } from "../../core/value-in-words.ts";
import type { Store } from "../../store/store.ts";
import type { AgentConfig, AgentConfigs } from "./config.ts";
import { AgentDefinition } from "./config.ts";
import { checkTemplate, maxTemplateChars } from "./template.ts";

/** An agent in one of its versions, which never change. */
export interface Agent {
  readonly name: string;
  /** From 1. */
  readonly version: number;
  readonly definition: AgentDefinition;
}

/** The named agents of the config and of the store. */
export interface Agents {
  /**
   * The agent `NAME`, or a version of it, `NAME@VERSION`. An agent of the config gets its next version when it is first used after it
   * was changed; so each that was used stays there by its number. Throws `agent.unknown`, `config.*`.
   */
  find(reference: string): Promise<Agent>;
  /** Keeps an agent that the config does not have, as its next version; the same as before keeps its version. Throws `config.bad_value`. */
  save(name: string, definition: z.input<typeof AgentDefinition>): Promise<Agent>;
  /**
   * Takes the name of a saved agent away; its versions stay, and saved again it gets the next one. Throws `agent.unknown`, and
   * `config.bad_value` for an agent of the config.
   */
  remove(name: string): Promise<void>;
  /** The names of all agents, those of the config first, and the newest version of each that was used or saved. */
  list(): Promise<readonly { readonly name: string; readonly version: number | null }[]>;
}

export interface AgentsServices {
  readonly store: Store;
  readonly scope: Scope;
  readonly agents: AgentConfigs;
  /** The home, in which the files of instructions are. Missing: there are no such files. */
  readonly home?: string | undefined;
}

const newestKind = "agent";
const versionKind = "agent-version";

/**
 * Which version is the newest, and whether only the config can name it: one that came from there, or whose name was taken away, counts by
 * its bare name only while the config has it.
 */
const Newest = z.strictObject({ version: z.int().min(1), hash: z.string(), isConfig: z.boolean() });

/** Two processes may add a version at the same time, and each tries again after the other. */
const maxTries = 10;

export function openAgents({ store, scope, agents, home }: AgentsServices): Agents {
  async function newest(name: string) {
    const record = await store.record(scope, newestKind, name);
    return record === null ? null : { ...Newest.parse(record.value), record: record.version };
  }

  async function add(name: string, definition: AgentDefinition, isConfig: boolean): Promise<Agent> {
    const text = canonicalJson(z.json().parse(definition));
    const hash = sha256(text);
    for (let tries = 1; ; tries += 1) {
      const last = await newest(name);
      if (last !== null && last.hash === hash && last.isConfig === isConfig) {
        return { name, version: last.version, definition };
      }
      const version = (last?.version ?? 0) + 1;
      const records = [
        { kind: newestKind, key: name, value: { version, hash, isConfig }, ifVersion: last?.record ?? 0 },
        { kind: versionKind, key: `${name}@${version}`, value: z.json().parse(JSON.parse(text)), ifVersion: 0 },
      ];
      try {
        await store.commit({ scope, records });
        return { name, version, definition };
      } catch (thrown) {
        if (toCapstanError(thrown).code !== "store.conflict" || tries === maxTries) throw thrown;
      }
    }
  }

  async function load(name: string, version: number): Promise<Agent> {
    const record = await store.record(scope, versionKind, `${name}@${version}`);
    if (record === null) {
      const last = await newest(name);
      const known = last === null ? "It was never used or saved" : `Its newest version is ${last.version}`;
      throw new CapstanError("agent.unknown", `The agent ${quote(name)} has no version ${version}. ${known}.`);
    }
    return { name, version, definition: parseDefinition(record.value, `${name}@${version}`) };
  }

  const configured = (name: string): AgentConfig | undefined =>
    Object.hasOwn(agents, name) ? agents[name] : undefined;

  async function list() {
    const stored = new Map(
      (await store.records(scope, newestKind)).map(({ key, value }) => [key, Newest.parse(value)]),
    );
    const saved = [...stored].filter(([name, { isConfig }]) => !isConfig && configured(name) === undefined);
    return [...Object.keys(agents), ...saved.map(([name]) => name)].map((name) => ({
      name,
      version: stored.get(name)?.version ?? null,
    }));
  }

  async function unknown(name: string): Promise<CapstanError> {
    const known = (await list()).map((agent) => agent.name);
    const meant = nearest(name, known);
    const hint = meant === undefined ? `There are: ${known.join(", ") || "none"}` : `Did you mean ${quote(meant)}?`;
    return new CapstanError("agent.unknown", `There is no agent ${quote(name)}. ${hint}`);
  }

  /** For a bare name that the config does not have. */
  function demandOwn(name: string, instead: string): void {
    if (parseReference(name).version !== undefined) throw badReference(name);
    if (configured(name) === undefined) return;
    throw new CapstanError("config.bad_value", `The agent ${quote(name)} is one of the config. ${instead}`);
  }

  return {
    async find(reference) {
      const { name, version } = parseReference(reference);
      if (version !== undefined) return await load(name, version);
      const config = configured(name);
      if (config !== undefined) return await add(name, await toDefinition(name, config, home), true);
      const last = await newest(name);
      if (last !== null && !last.isConfig) return await load(name, last.version);
      throw await unknown(name);
    },
    async save(name, definition) {
      demandOwn(name, "Change it there, or take another name.");
      const parsed = parseDefinition(definition, name);
      await checkTemplate(parsed.instructions, Object.keys(parsed.variables), `the agent ${name}`);
      return await add(name, parsed, false);
    },
    async remove(name) {
      demandOwn(name, "Take it out there.");
      const last = await newest(name);
      if (last === null || last.isConfig) throw await unknown(name);
      const { version, hash, record } = last;
      const value = { version, hash, isConfig: true };
      await store.commit({ scope, records: [{ kind: newestKind, key: name, value, ifVersion: record }] });
    },
    list,
  };
}

/** The definition of an agent of the config, its instructions read from their file where they are in one. */
export async function toDefinition(
  name: string,
  config: AgentConfig,
  home: string | undefined,
): Promise<AgentDefinition> {
  const { instructions, description, variables, model, settings, tools, agents, limits, guardrails, answerSchema } =
    config;
  const about = {
    ...{ description, variables, agents, limits },
    ...(model === undefined ? {} : { model }),
    ...(settings === undefined ? {} : { settings }),
    ...(tools === undefined ? {} : { tools }),
    ...(guardrails === undefined ? {} : { guardrails }),
    ...(answerSchema === undefined ? {} : { answerSchema }),
  };
  if (typeof instructions === "string") return { ...about, instructions };
  const { file } = instructions;
  const missing = (why: string, cause?: unknown): CapstanError =>
    new CapstanError("config.missing", `The instructions of the agent ${name}, ${file} in the home, ${why}`, { cause });
  if (home === undefined) throw missing("can't be read: there is no home.");
  let text: string;
  try {
    text = await readFile(join(home, file), "utf8");
  } catch (cause) {
    throw missing("can't be read. Put the file there, or name another one.", cause);
  }
  if (text.trim() !== "" && text.length <= maxTemplateChars) return { ...about, instructions: text };
  throw missing(`have ${text.length} characters, and 1 to ${maxTemplateChars} are right.`);
}

function parseReference(reference: string): { readonly name: string; readonly version?: number } {
  const match = /^([a-z][a-z0-9_-]{0,39})(?:@([1-9]\d{0,8}))?$/.exec(reference);
  const [, name, version] = match ?? [];
  if (name === undefined) throw badReference(reference);
  return { name, ...(version === undefined ? {} : { version: Number(version) }) };
}

function badReference(reference: string): CapstanError {
  const form = "Write NAME, or NAME@VERSION with a version from 1";
  return new CapstanError("usage.bad_option", `${quote(reference.slice(0, 80))} names no agent. ${form}.`);
}

/** Throws `config.bad_value`, saying what of it does not fit. */
export function parseDefinition(value: unknown, called: string): AgentDefinition {
  const fitted = fit(AgentDefinition, value, "it");
  if ("data" in fitted) return fitted.data;
  const problems = fitted.problems.map(({ text }) => text).join("; ");
  throw new CapstanError("config.bad_value", `The agent ${called} can't be used: ${problems}.`);
}

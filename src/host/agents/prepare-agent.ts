import { CapstanError } from "../../core/error.ts";
import type { RunLimits } from "../../core/event.ts";
import type { Guardrails } from "../../core/guardrails.ts";
import { quote } from "../../core/value-in-words.ts";
import type { ToolName } from "../../permissions/narrow.ts";
import { findNamed } from "../../permissions/narrow.ts";
import type { HostConfig } from "../config.ts";
import type { StartRequest } from "../host.ts";
import { systemPrompt } from "../system-prompt.ts";
import type { Agents } from "./agents.ts";
import type { AgentDefinition, AgentVariable } from "./config.ts";
import type { Variables } from "./template.ts";
import { renderTemplate } from "./template.ts";

/** The name of the tool that an agent is for others. */
export const toAgentTool = (name: string): string => `agent_${name}`;

/** A run as its agent makes it, or as it was asked for where there is none. */
export interface AgentRun {
  /** With the agent's model, settings, limits and rules, where the request does not say them or says more. */
  readonly request: StartRequest & { readonly model: string; readonly limits: RunLimits };
  /** The instructions, with what `clean` leaves of each text among the variables. */
  readonly toSystem: (clean: (text: string) => string) => Promise<string>;
  readonly agent?: { readonly name: string; readonly version: number };
  /** Names and patterns: what the run gets of the tools of its starter. Missing: all. */
  readonly allow?: readonly string[];
  /** The agent's own. */
  readonly guardrails?: Guardrails;
}

interface Around {
  readonly agents: Agents;
  readonly config: HostConfig;
  /** The tools that the grant of the starter lists. */
  readonly tools: () => readonly ToolName[];
}

/**
 * What a run of an agent is told and may do, before it begins: its instructions with the variables in their places, and no more
 * tools and no higher limits than it has itself. Throws `agent.unknown`, `usage.bad_option` for variables that do not fit,
 * `permission.no_right` for tools that its starter has not, `config.*` for its instructions.
 */
export async function prepareAgent(asked: StartRequest, { agents, config, tools }: Around): Promise<AgentRun> {
  if (asked.agent === undefined) {
    if (asked.variables !== undefined && Object.keys(asked.variables).length > 0) {
      throw new CapstanError("usage.bad_option", "Variables are those of an agent's instructions. Name the agent too.");
    }
    const limits = { ...config.limits, ...asked.limits };
    return { request: { ...asked, model: asked.model ?? config.model, limits }, toSystem: async () => systemPrompt };
  }
  const { name, version, definition } = await agents.find(asked.agent);
  const values = toValues(name, definition.variables, asked.variables ?? {});
  const allow = toAllowed(definition);
  if (allow !== undefined) demandTools(name, allow, tools());
  const { answerSchema, guardrails } = definition;
  return {
    request: {
      ...(answerSchema === undefined ? {} : { answerSchema }),
      ...asked,
      model: asked.model ?? definition.model ?? config.model,
      settings: { ...definition.settings, ...asked.settings },
      limits: lowest({ ...config.limits, ...definition.limits }, asked.limits ?? {}),
    },
    toSystem: async (clean) => {
      const cleaned = Object.entries(values).map(([key, value]) => [
        key,
        typeof value === "string" ? clean(value) : value,
      ]);
      const filled: Variables = Object.fromEntries(cleaned);
      return `${systemPrompt}\n\n${await renderTemplate(definition.instructions, filled, `the agent ${name}`)}`;
    },
    agent: { name, version },
    ...(allow === undefined ? {} : { allow }),
    ...(guardrails === undefined ? {} : { guardrails }),
  };
}

/** The tools of an agent, with the agents that it calls as tools; undefined: all that its starter has. */
export function toAllowed({ tools, agents }: Pick<AgentDefinition, "tools" | "agents">): readonly string[] | undefined {
  return tools === undefined ? undefined : [...new Set([...tools, ...agents.map(toAgentTool)])];
}

/** Each limit of the first, or of the second where that is lower. */
export function lowest(most: RunLimits, asked: Readonly<Partial<RunLimits>>): RunLimits {
  const least = (key: keyof RunLimits): number => Math.min(most[key], asked[key] ?? Infinity);
  return {
    turns: least("turns"),
    timeMs: least("timeMs"),
    costMicroUsd: least("costMicroUsd"),
    depth: least("depth"),
    parallel: least("parallel"),
  };
}

/** A grant that lacks what an agent needs does not start half of it: it is told what is missing. */
function demandTools(name: string, allow: readonly string[], held: readonly ToolName[]): void {
  const missing = allow.filter((pattern) => findNamed(pattern, held).length === 0);
  if (missing.length === 0) return;
  const options = missing.map((pattern) => `--allow ${pattern}`).join(" ");
  throw new CapstanError(
    "permission.no_right",
    `The agent ${name} uses ${missing.join(", ")}, of which its starter has nothing. Start it with ${options}, or take that out of its tools.`,
  );
}

function toValues(name: string, declared: Readonly<Record<string, AgentVariable>>, given: Variables): Variables {
  const unknown = Object.keys(given).filter((key) => !Object.hasOwn(declared, key));
  if (unknown.length > 0) {
    const known = Object.keys(declared).join(", ") || "none";
    throw badVariables(name, `${unknown.map((key) => quote(key)).join(", ")} is none of them; there are: ${known}`);
  }
  return Object.fromEntries(
    Object.entries(declared).map(([key, variable]) => {
      const value = Object.hasOwn(given, key) ? given[key] : variable.default;
      if (value === undefined) throw badVariables(name, `${key} is missing. Say it: --var ${key}=VALUE`);
      return [key, toType(value, variable.type, (why) => badVariables(name, `${key} ${why}`))];
    }),
  );
}

/** The command line says everything as text, and a model does what it likes. */
function toType(
  value: string | number | boolean,
  type: AgentVariable["type"],
  fail: (why: string) => CapstanError,
): string | number | boolean {
  if (typeof value === type) return value;
  if (type === "string") return String(value);
  if (type === "number" && typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value))) {
    return Number(value);
  }
  if (type === "boolean" && (value === "true" || value === "false")) return value === "true";
  throw fail(`must be a ${type}, not ${quote(String(value).slice(0, 80))}`);
}

function badVariables(name: string, why: string): CapstanError {
  return new CapstanError("usage.bad_option", `The variables of the agent ${name} do not fit: ${why}.`);
}

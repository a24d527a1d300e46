import { z } from "zod";
import { longestMs } from "../../core/clock.ts";
import { ModelSettings, RunLimits } from "../../core/event.ts";
import { GuardrailsConfig } from "../guardrails/rules.ts";
import { maxTemplateChars } from "./template.ts";

/** Names of agents are parts of the names of tools, `agent_NAME`. */
const agentName = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,39}$/, "a name is 1 to 40 small letters, digits, _ or -, and begins with a letter");

const variableName = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_]{0,39}$/, "a variable is 1 to 40 letters, digits or _, and begins with a letter");

/** A variable of an agent's instructions. Without a default, whoever starts the agent must say it. */
export const AgentVariable = z
  .strictObject({
    type: z.enum(["string", "number", "boolean"]).default("string"),
    description: z.string().max(1_000).exactOptional(),
    default: z.union([z.string().max(10_000), z.number(), z.boolean()]).exactOptional(),
  })
  .refine(({ type, default: value }) => value === undefined || typeof value === type, {
    path: ["default"],
    error: "the default is not of the variable's type",
  });
export type AgentVariable = Readonly<z.infer<typeof AgentVariable>>;

/** A file in the home, below it and by its own name: nothing leads out of there. */
const TemplateFile = z.strictObject({
  file: z
    .string()
    .max(500)
    .regex(/^(?!\.)[\w.-]+(?:\/(?!\.)[\w.-]+)*$/, "a file is named from the home, such as agents/reviewer.liquid"),
});

/** Those of the config where an agent has its own. */
const AgentLimits = z.strictObject({
  turns: RunLimits.shape.turns.exactOptional(),
  timeMs: RunLimits.shape.timeMs.max(longestMs).exactOptional(),
  costMicroUsd: RunLimits.shape.costMicroUsd.exactOptional(),
  depth: RunLimits.shape.depth.exactOptional(),
  parallel: RunLimits.shape.parallel.max(32).exactOptional(),
});

const ToolPattern = z.string().min(1).max(128);

/** What an agent is, but where its instructions come from. */
const about = {
  /** What it does, in a sentence: a model that may call it reads this. */
  description: z.string().min(1).max(2_000),
  variables: z.record(variableName, AgentVariable).default({}),
  /** As in `--model`. Missing: that of whoever starts it, else the config's. */
  model: z.string().min(1).max(200).exactOptional(),
  settings: ModelSettings.exactOptional(),
  /**
   * Names, or beginnings of names before a `*`: what it gets of the tools of whoever starts it, each of them must be there. `[]`: none.
   * Missing: all of them.
   */
  tools: z.array(ToolPattern).max(256).exactOptional(),
  /** Agents that it calls as tools, `agent_NAME`, beside `tools`. */
  agents: z.array(agentName).max(32).default([]),
  /** Its own, in place of those of the config; what starts it can only lower them. */
  limits: AgentLimits.default({}),
  guardrails: GuardrailsConfig.exactOptional(),
  answerSchema: z
    .strictObject({ schema: z.record(z.string(), z.json()), tries: z.int().min(0).max(20).default(2) })
    .exactOptional(),
};

/** An agent as the store keeps it: with the text of its instructions, a Liquid template. */
export const AgentDefinition = z.strictObject({ ...about, instructions: z.string().min(1).max(maxTemplateChars) });
export type AgentDefinition = Readonly<z.infer<typeof AgentDefinition>>;

/** An agent of the config. */
export const AgentConfig = z.strictObject({
  ...about,
  instructions: z.union([z.string().min(1).max(maxTemplateChars), TemplateFile]),
  /** Whether there is a tool `agent_NAME` for every caller whose grant names it. Those that an agent lists are tools as well. */
  asTool: z.boolean().default(false),
  /** How many of its runs may go on at a time, in this process. Missing: as many as there may be runs. */
  concurrency: z.int().min(1).exactOptional(),
});
export type AgentConfig = Readonly<z.infer<typeof AgentConfig>>;

/** The agents of the config by name. What one lists must be there, and none may come to itself by what they list. */
export const AgentConfigs = z.record(agentName, AgentConfig).superRefine((agents, context) => {
  for (const [name, { agents: listed }] of Object.entries(agents)) {
    for (const [place, other] of listed.entries()) {
      if (Object.hasOwn(agents, other)) continue;
      const message = `${JSON.stringify(other)} is no agent of this config; it has ${Object.keys(agents).join(", ")}`;
      context.addIssue({ code: "custom", path: [name, "agents", place], message });
    }
  }
  const circle = findCircle(agents);
  if (circle === null) return;
  const message = `these agents call each other in a circle: ${circle.join(" → ")}; take one out of the other's list`;
  context.addIssue({ code: "custom", path: [circle[0] ?? "", "agents"], message });
});
export type AgentConfigs = Readonly<z.infer<typeof AgentConfigs>>;

type Graph = Readonly<Record<string, Pick<AgentConfig, "agents">>>;

const listedBy = (agents: Graph, name: string): readonly string[] =>
  Object.hasOwn(agents, name) ? (agents[name]?.agents ?? []) : [];

/**
 * The names of the agents so that each stands before all that it lists; agents that list each other in a circle are left out, which no
 * config has.
 */
export function inOrder(agents: Graph): readonly string[] {
  const ordered: string[] = [];
  const seen = new Set<string>();
  const visit = (name: string): void => {
    if (seen.has(name)) return;
    seen.add(name);
    for (const other of listedBy(agents, name)) visit(other);
    ordered.unshift(name);
  };
  for (const name of Object.keys(agents).sort()) visit(name);
  return ordered;
}

/** The first circle there is, with the same name at both ends. */
function findCircle(agents: Graph): readonly string[] | null {
  const done = new Set<string>();
  const walk = (name: string, path: readonly string[]): readonly string[] | null => {
    if (path.includes(name)) return [...path.slice(path.indexOf(name)), name];
    if (done.has(name)) return null;
    done.add(name);
    for (const other of listedBy(agents, name)) {
      const circle = walk(other, [...path, name]);
      if (circle !== null) return circle;
    }
    return null;
  };
  for (const name of Object.keys(agents)) {
    const circle = walk(name, []);
    if (circle !== null) return circle;
  }
  return null;
}

import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import type { RunLimits } from "../core/event.ts";
import type { Grant } from "../permissions/grant.ts";
import { fromZod } from "../tools/schema.ts";
import type { Effect, Tool } from "../tools/tool.ts";
import { defineTool } from "../tools/tool.ts";
import type { AgentConfig, AgentVariable } from "./agents/config.ts";
import { lowest, toAgentTool } from "./agents/prepare-agent.ts";
import { performSubRun, SubRunOutput } from "./agents/sub-run.ts";
import type { Variables } from "./agents/template.ts";
import type { HostConfig } from "./config.ts";
import type { Host } from "./host.ts";
import { toModelName } from "./providers/all.ts";

/** What the door allows beside the run's own time and that in which it waits for its place: its start, and its end in order. */
const graceMs = 10_000;

const task = z.string().min(1).max(100_000).describe("What is to be done, in plain words.");

/** `named`: what is told of the agents there are. */
const toRunAgentInput = (named: string) =>
  z.strictObject({
    task,
    agent: z.string().min(1).max(60).optional().describe(named),
    variables: z
      .record(z.string().max(40), z.union([z.string().max(10_000), z.number(), z.boolean()]))
      .optional()
      .describe("What the agent's instructions leave open, by name."),
    model: z
      .string()
      .min(1)
      .max(200)
      .optional()
      .describe("As `capstan run --model`, and one that the config speaks of; missing: the configured one."),
    maxTurns: z.int().min(1).optional().describe("Turns of the model; never more than configured."),
    timeoutMs: z.int().min(1).optional().describe("Time to work in; never more than configured."),
    maxCostMicroUsd: z.int().min(0).optional().describe("Never more than configured."),
  });
type RunAgentInput = z.infer<ReturnType<typeof toRunAgentInput>>;

interface AgentServices {
  /** The host of those who call; it is there once the door is open. */
  readonly host: () => Host;
  readonly config: HostConfig;
}

/** `run_agent`, and a tool `agent_NAME` for each agent of the config that another one lists or that says so itself. */
export function agentTools(services: AgentServices): readonly Tool[] {
  const { agents } = services.config;
  const listed = new Set(Object.values(agents).flatMap((agent) => agent.agents));
  const offered = Object.entries(agents).filter(([name, { asTool }]) => asTool || listed.has(name));
  return [runAgentTool(services), ...offered.map(([name, agent]) => namedAgentTool(name, agent, services))];
}

/** Hands a task to a run, of a named agent or of none. */
function runAgentTool({ host, config }: AgentServices): Tool {
  const toLimits = ({ agent, maxTurns, timeoutMs, maxCostMicroUsd }: RunAgentInput): RunLimits =>
    lowest(mostOf(config, agent?.split("@")[0]), {
      ...(maxTurns === undefined ? {} : { turns: maxTurns }),
      ...(timeoutMs === undefined ? {} : { timeMs: timeoutMs }),
      ...(maxCostMicroUsd === undefined ? {} : { costMicroUsd: maxCostMicroUsd }),
    });
  return defineTool<RunAgentInput, SubRunOutput>({
    ...common(config, toLimits),
    name: "run_agent",
    title: "Hand a task to an agent",
    description:
      "Starts a run of a model that does the task with the tools that you may call, and answers with its end. " +
      "It may do no more than you may. status: done, failed, limit, refused, cancelled, or suspended while a person must approve a call.",
    input: fromZod(toRunAgentInput(inWords(config))),
    run: async (args, context) => {
      const { task: asked, agent, variables, model } = args;
      if (model !== undefined) demandNamed(model, config);
      const request = {
        task: asked,
        ...(agent === undefined ? {} : { agent }),
        ...(variables === undefined ? {} : { variables }),
        ...(model === undefined ? {} : { model }),
        limits: toLimits(args),
      };
      return await performSubRun(request, args, context, host());
    },
  });
}

/**
 * The caller is a client or a model: what it may spend is what the config speaks of, so that no key of the environment is used unasked.
 */
function demandNamed(asked: string, { model, agents, routes, models, prices, providers }: HostConfig): void {
  const ofAgents = Object.values(agents).flatMap((agent) => agent.model ?? []);
  const named = [model, "planner", ...ofAgents, ...[routes, models, prices].flatMap((one) => Object.keys(one))];
  if (named.includes(asked) || Object.hasOwn(providers, toModelName(asked).provider)) return;
  throw new CapstanError(
    "permission.argument_refused",
    `run_agent asks no model that the config does not speak of, and ${JSON.stringify(asked)} is none of: ${[...new Set(named)].join(", ")}. ` +
      "Name its endpoint in host.providers, or the model in host.prices.",
  );
}

function inWords({ agents }: HostConfig): string {
  const names = Object.keys(agents);
  const there = names.length === 0 ? "" : ` There are: ${names.join(", ")}.`;
  return `A named agent, NAME or NAME@VERSION; missing: none.${there}`;
}

/** Hands a task to a run of one agent. */
function namedAgentTool(name: string, agent: AgentConfig, { host, config }: AgentServices): Tool {
  const limits = mostOf(config, name);
  return defineTool<NamedInput, SubRunOutput>({
    ...common(config, () => limits),
    name: toAgentTool(name),
    title: `Agent ${name}`,
    description: `${agent.description}\n\nDoes the task in a run of its own, with no more than you may do, and answers with its end.`,
    input: fromZod(toNamedInput(agent)),
    run: async (args, context) => await performSubRun({ ...args, agent: name, limits }, args, context, host()),
  });
}

interface NamedInput {
  readonly task: string;
  readonly variables?: Variables;
}

/** Only what the agent's instructions leave open is asked for, each by its type. */
function toNamedInput({ variables }: AgentConfig): z.ZodType<NamedInput> {
  const shape = Object.fromEntries(Object.entries(variables).map(([name, variable]) => [name, toValue(variable)]));
  if (Object.keys(shape).length === 0) return z.strictObject({ task });
  const values = z.strictObject(shape);
  const isNeeded = Object.values(variables).some((variable) => variable.default === undefined);
  return z.strictObject({ task, variables: isNeeded ? values : values.exactOptional() });
}

function toValue({ type, description = "", default: byDefault }: AgentVariable) {
  const value = { string: z.string().max(10_000), number: z.number(), boolean: z.boolean() }[type];
  const told = byDefault === undefined ? description : `${description} Missing: ${JSON.stringify(byDefault)}.`.trim();
  const described = told === "" ? value : value.describe(told);
  return byDefault === undefined ? described : described.exactOptional();
}

/** The most that a run of an agent, or of none, may have. */
function mostOf({ limits, agents }: HostConfig, name = ""): RunLimits {
  return { ...limits, ...(Object.hasOwn(agents, name) ? agents[name]?.limits : {}) };
}

/** It changes nothing by itself: each of its calls is one of its own at the door. */
const hints = { readOnly: false, destructive: false, idempotent: false, openWorld: false };

function common<I>({ concurrency }: HostConfig, toLimits: (args: I) => RunLimits) {
  return {
    output: fromZod(SubRunOutput),
    hints,
    // Within a run the same call finds the run that it has started.
    effect: (_: I, { run }: Grant): Effect => (run === undefined ? "once" : "idempotent"),
    needs: () => [{ type: "run" as const, action: "create" as const }],
    timeoutMs: (args: I) => toLimits(args).timeMs + concurrency.queueMs + graceMs,
  };
}

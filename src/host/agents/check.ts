import { toCapstanError } from "../../core/error.ts";
import type { ToolName } from "../../permissions/narrow.ts";
import { findNamed } from "../../permissions/narrow.ts";
import { toDefinition } from "./agents.ts";
import type { AgentConfigs, AgentDefinition } from "./config.ts";
import { toAgentTool, toAllowed } from "./prepare-agent.ts";
import { checkTemplate } from "./template.ts";

/** An agent of the config, and what is wrong with it, in sentences; empty: it can be used by whoever has its tools. */
export interface CheckedAgent {
  readonly name: string;
  readonly problems: readonly string[];
}

interface Around {
  readonly home: string;
  /** Every tool there is now. */
  readonly tools: readonly ToolName[];
  /** Whether a name or a pattern may be that of a tool which is not there now. */
  readonly mayCome: (pattern: string) => boolean;
}

/** Looks for what can be wrong with the agents of a config before one is used: instructions, and tools that are not there. */
export async function checkAgents(agents: AgentConfigs, around: Around): Promise<readonly CheckedAgent[]> {
  const defined = new Map<string, AgentDefinition>();
  const broken = new Map<string, string>();
  for (const [name, config] of Object.entries(agents)) {
    try {
      const definition = await toDefinition(name, config, around.home);
      defined.set(name, definition);
      await checkTemplate(definition.instructions, Object.keys(definition.variables), `the agent ${name}`);
    } catch (thrown) {
      broken.set(name, toCapstanError(thrown).message);
    }
  }
  return Object.keys(agents).map((name) => {
    const definition = defined.get(name);
    const first = broken.get(name);
    const others =
      definition === undefined ? [] : [...findTools(definition, around), ...findWider(definition, defined, around)];
    return { name, problems: first === undefined ? others : [first, ...others] };
  });
}

/** Names and patterns that stand for no tool. */
function findTools({ tools = [] }: AgentDefinition, around: Around): readonly string[] {
  return tools
    .filter((pattern) => findNamed(pattern, around.tools).length === 0 && !around.mayCome(pattern))
    .map((pattern) => `${pattern} in its tools names no tool.`);
}

/** Agents that it can't start, because they use what it has not. */
function findWider(
  definition: AgentDefinition,
  defined: ReadonlyMap<string, AgentDefinition>,
  { tools, mayCome }: Around,
): readonly string[] {
  const own = toAllowed(definition)?.flatMap((pattern) => findNamed(pattern, tools));
  if (own === undefined) return [];
  return definition.agents.flatMap((other) => {
    const listed = defined.get(other);
    const theirs = listed === undefined ? [] : (toAllowed(listed) ?? []);
    const missing = theirs.filter((pattern) => findNamed(pattern, own).length === 0 && !mayCome(pattern));
    if (missing.length === 0) return [];
    return `${toAgentTool(other)} uses ${missing.join(", ")}, which is not among its own tools, so it can't start it.`;
  });
}

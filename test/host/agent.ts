import { newId } from "../../src/core/id.ts";
import { localPrincipal, localScope } from "../../src/core/scope.ts";
import type { RunLimits } from "../../src/core/event.ts";
import { HostConfig } from "../../src/host/config.ts";
import type { Host } from "../../src/host/host.ts";
import type { Provider } from "../../src/host/provider.ts";
import { agentTools } from "../../src/host/run-agent.ts";
import type { CallRequest, Caller } from "../../src/tools/call.ts";
import type { Outcome, Tool } from "../../src/tools/tool.ts";
import type { TestHostOptions, Turn } from "./scripted.ts";
import { openTestHost, scripted } from "./scripted.ts";

/** The models of a test, by the name that `run_agent` is called with. */
export type Models = Readonly<Record<string, readonly Turn[] | Provider>>;

interface AgentOptions extends Partial<Omit<TestHostOptions, "tools" | "provider" | "config">> {
  readonly limits?: Partial<RunLimits>;
  /** More of the host's config, such as its agents. */
  readonly host?: object;
}

/** A real host with `run_agent` beside the given tools, and a way to call it as a client does. */
export async function openAgent(tools: readonly Tool[], models: Models, options: AgentOptions = {}) {
  const { limits, host: more, ...rest } = options;
  const named = Object.fromEntries(Object.keys(models).map((name) => [name, {}]));
  const config = HostConfig.parse({ model: "first", models: named, limits: { ...limits }, ...more });
  const providers = new Map(
    Object.entries(models).map(([name, model]) => [name, "stream" in model ? model : scripted(model)]),
  );
  const none = scripted([]);
  const all: readonly Tool[] = [...tools, ...agentTools({ host: (): Host => host, config })];
  const at = await openTestHost({ tools: all, provider: none, config, ...rest });
  const host = at.open({ config, openProvider: (model) => providers.get(model) ?? none });
  return {
    ...at,
    host,
    tools: all,
    /** Calls as a client under the grant of the host, unless told otherwise. */
    call: async (
      name: string,
      args: unknown,
      over: Partial<CallRequest> & { readonly by?: Partial<Caller> } = {},
    ): Promise<{ readonly outcome: Outcome; readonly taint: readonly string[] }> => {
      const { by, ...request } = over;
      const caller = { principal: localPrincipal, scope: localScope, grant: at.grant, taint: [], depth: 0, ...by };
      const signal = new AbortController().signal;
      return await at.door.call({ caller, name, args, callId: newId("call"), signal, ...request });
    },
    [Symbol.asyncDispose]: () => at[Symbol.asyncDispose](),
  };
}

/** What an outcome that is done says as JSON; a waiting one fails the test. */
export function doneOf(outcome: Outcome): Extract<Outcome, { type: "done" }> {
  if (outcome.type === "done") return outcome;
  throw new Error(`It waits: ${JSON.stringify(outcome)}`);
}

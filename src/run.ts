import type { App } from "./app.ts";
import { newId } from "./core/id.ts";
import type { RuleRequest } from "./host/guardrails/run-rules.ts";
import type { RunOutcome } from "./host/outcome.ts";
import type { Grant } from "./permissions/grant.ts";
import { operatorGrant } from "./permissions/operator.ts";

/** What `run` may be told beside the task. */
export interface RunTaskOptions extends RuleRequest {
  /** Missing: the model of the agent, else of the config, else the planner. */
  readonly model?: string;
  /** An agent, `NAME` or `NAME@VERSION`, and the variables of its instructions. */
  readonly agent?: string;
  readonly variables?: Readonly<Record<string, string | number | boolean>>;
  /** Missing: the operator's default grant, with the tools in `allow` and the folders in `read` added. */
  readonly grant?: Grant;
  readonly allow?: readonly string[];
  readonly read?: readonly string[];
  readonly signal?: AbortSignal;
}

const defaultTtlMs = 60 * 60_000;

/** Does a task with the app's tools and returns how it ended: the library's `capstan run`. Throws what `host.start` throws. */
export async function run(app: App, task: string, options: RunTaskOptions = {}): Promise<RunOutcome> {
  const { signal = new AbortController().signal, model, agent, variables } = options;
  const { answerSchema, guardrails } = options;
  await app.bridge?.ready(signal);
  return await app.host.start({
    task,
    ...(model === undefined ? {} : { model }),
    ...(agent === undefined ? {} : { agent }),
    ...(variables === undefined ? {} : { variables }),
    ...(answerSchema === undefined ? {} : { answerSchema }),
    ...(guardrails === undefined ? {} : { guardrails }),
    grant: options.grant ?? toGrant(app, options),
    signal,
  });
}

/** The operator's default grant for a program that embeds Capstan: its owner acts through it. */
export function toGrant(app: App, { allow = [], read = [] }: Pick<RunTaskOptions, "allow" | "read"> = {}): Grant {
  const { permissions, principal, scope, toolNames } = app;
  return operatorGrant(
    {
      id: newId("grant"),
      now: permissions.now(),
      ttlMs: defaultTtlMs,
      principal,
      scope,
      epoch: permissions.epoch(principal),
      read,
      write: [],
      allow,
    },
    toolNames,
  );
}

import { z } from "zod";
import { counted } from "../core/counted.ts";
import { CapstanError, toCapstanError } from "../core/error.ts";
import { Usage } from "../core/event.ts";
import { newId } from "../core/id.ts";
import type { JsonObject } from "../core/json.ts";
import type { Run } from "../core/run.ts";
import type { Grant } from "../permissions/grant.ts";
import { fromZod } from "../tools/schema.ts";
import type { CallContext, InputRequest, Outcome, Tool } from "../tools/tool.ts";
import { defineTool } from "../tools/tool.ts";
import { isShownWhole } from "./call-tool.ts";
import type { HostConfig } from "./config.ts";
import type { Host, RunOutcome } from "./host.ts";
import { toOutcome } from "./host.ts";
import type { RunSignal } from "./world.ts";

/** What the door allows beside the run's own time: its start, and its end in order. */
const graceMs = 10_000;

const Input = z.strictObject({
  task: z.string().min(1).max(100_000).describe("What is to be done, in plain words."),
  model: z.string().min(1).max(200).optional().describe("As `capstan run --model`; missing: the configured one."),
  maxTurns: z.int().min(1).optional().describe("Turns of the model; never more than configured."),
  timeoutMs: z.int().min(1).optional().describe("Time to work in; never more than configured."),
  maxCostMicroUsd: z.int().min(0).optional().describe("Never more than configured."),
});
type Input = z.infer<typeof Input>;

const Output = z.strictObject({
  runId: z.string(),
  status: z.enum(["done", "failed", "limit", "refused", "cancelled", "suspended"]),
  answer: z.string(),
  code: z.string().optional().describe("Why it is not done, and `message` says so in a sentence."),
  message: z.string().optional(),
  pending: z
    .array(z.strictObject({ callId: z.string(), name: z.string(), question: z.string(), approve: z.string() }))
    .describe("Calls that a person must approve first; `approve` is the command that does it."),
  next: z.string().optional().describe("The command that goes on with the run."),
  turns: z.int(),
  toolCalls: z.int(),
  usage: Usage,
  costMicroUsd: z.int(),
  wallMs: z.int(),
});
type Output = z.infer<typeof Output>;

/** `unasked`: waiting calls that the answer of a person did not release, and that are not asked about again. */
const State = z.strictObject({
  runId: z.string(),
  waits: z.literal(true).optional(),
  unasked: z.array(z.string()).default([]),
});
type State = z.infer<typeof State>;

interface AgentServices {
  /** The host of those who call; it is there once the door is open. */
  readonly host: () => Host;
  readonly config: HostConfig;
}

/**
 * `run_agent`: hands a task to a run under a grant derived from the caller's. Its calls come to the door nested in this one. A caller who
 * can be let go gets a handle and answers approvals by it; to others a run that waits for a person says by which command it goes on.
 */
export function runAgentTool({ host, config }: AgentServices): Tool {
  const toTimeMs = ({ timeoutMs = Infinity }: Input): number => Math.min(timeoutMs, config.limits.timeMs);

  async function begin(args: Input, runId: string, context: CallContext): Promise<Outcome<Output>> {
    const { grant, taint, callId, depth, detach } = context;
    demandDepth(context, config);
    await detach?.({ runId });
    const driving = openDriving(runId, context);
    const { maxTurns = Infinity, maxCostMicroUsd = Infinity } = args;
    const outcome = await host().start({
      ...driving.request,
      task: args.task,
      model: args.model ?? config.model,
      runId,
      grant,
      taint,
      depth: depth + 1,
      ...(grant.run === undefined ? {} : { parent: { runId: grant.run, callId } }),
      limits: {
        turns: Math.min(maxTurns, config.limits.turns),
        timeMs: toTimeMs(args),
        costMicroUsd: Math.min(maxCostMicroUsd, config.limits.costMicroUsd),
      },
    });
    return conclude(outcome, { runId, unasked: [] }, context);
  }

  /** Goes on with a run that waited, or whose process has ended. */
  async function takeUp(args: Input, context: CallContext, resumed: NonNullable<CallContext["resumed"]>) {
    const state = State.parse(resumed.state);
    const { runId } = state;
    const { grant, depth } = context;
    // The process may have ended between the handle and the run.
    const run = await find(host(), runId);
    if (run === null) return await begin(args, runId, context);
    if (run.end !== null) return conclude(toOutcome(run), state, context);
    const unreleased = await answer(host(), runId, resumed.responses, grant);
    const now = { ...state, unasked: [...state.unasked, ...unreleased] };
    // Somebody drives it by hand: its end is seen when it is there.
    if (resumed.cancelled !== true && state.waits === true && run.status === "running") return wait([], now);
    const driving = openDriving(runId, context);
    const cancelled = resumed.cancelled === true ? { cancelled: AbortSignal.abort() } : {};
    const isStarter = true as const;
    const outcome = await host().resume(runId, {
      ...driving.request,
      ...cancelled,
      grant,
      depth: depth + 1,
      isStarter,
    });
    await driving.settled();
    return conclude(outcome, now, context);
  }

  return defineTool<Input, Output>({
    name: "run_agent",
    title: "Hand a task to an agent",
    description:
      "Starts a run of a model that does the task with the tools that you may call, and answers with its end. " +
      "It may do no more than you may. status: done, failed, limit, refused, cancelled, or suspended while a person must approve a call.",
    input: fromZod(Input),
    output: fromZod(Output),
    // It changes nothing by itself: each of its calls is one of its own at the door.
    hints: { readOnly: false, destructive: false, idempotent: false, openWorld: false },
    effect: "once",
    needs: () => [{ type: "run", action: "create" }],
    timeoutMs: (args) => toTimeMs(args) + graceMs,
    async run(args, context) {
      const { resumed } = context;
      if (resumed === undefined) return await begin(args, newId("run"), context);
      return await takeUp(args, context, resumed);
    },
  });
}

/** The calls of a run are one level deeper than its own: where none would be let in, it does not start. */
function demandDepth({ grant, depth }: CallContext, { limits }: HostConfig): void {
  const deepest = Math.min(limits.depth, ...[grant, ...grant.ancestors].map((one) => one.limits.depth ?? Infinity));
  if (depth < deepest) return;
  throw new CapstanError(
    "budget.depth",
    `Calls may nest ${deepest} deep here, and those of a run from here would be at ${depth + 1}. Do the task without a further run.`,
  );
}

/** What driving a run for a call takes: whatever ends the call ends the run, and what the run does is the call's progress. */
function openDriving(runId: string, { signal, progress, detach }: CallContext) {
  const interrupted = new AbortController();
  const cancelled = new AbortController();
  const onAbort = (): void => {
    (isInterruption(signal.reason) ? interrupted : cancelled).abort(signal.reason);
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  let detached: Promise<void> | undefined;
  let done = 0;
  let turns = 0;
  let calls = 0;

  function onSignal(told: RunSignal): void {
    if (told.type !== "event") return;
    const { event } = told;
    if (event.type === "run.resumed") {
      detached = detach?.({ runId });
      detached?.catch(() => {}); // Thrown by `settled`.
    }
    if (event.type === "model.answered") turns += 1;
    if (event.type === "tool.finished") calls += 1;
    done += 1;
    progress({ done, message: `${runId}: ${counted(turns, "turn")}, ${counted(calls, "tool call")}` });
  }
  return {
    request: { signal: interrupted.signal, cancelled: cancelled.signal, onSignal },
    settled: async () => await detached,
  };
}

/** The process ends, or the call's time is over: then the run can go on later. Everything else is the caller's word. */
function isInterruption(reason: unknown): boolean {
  if (reason instanceof CapstanError) return reason.code === "core.interrupted";
  return reason instanceof DOMException && reason.name === "TimeoutError";
}

async function find(host: Host, runId: string): Promise<Run | null> {
  try {
    return (await host.load(runId)).run;
  } catch (thrown) {
    if (toCapstanError(thrown).code === "run.not_found") return null;
    throw thrown;
  }
}

const Yes = z.object({ action: z.literal("accept"), content: z.object({ approve: z.literal(true) }) });

/** Takes the answers of a person to the run, and names the calls that they did not release: what may not be approved waits on. */
async function answer(host: Host, runId: string, responses: JsonObject, grant: Grant): Promise<readonly string[]> {
  const unreleased: string[] = [];
  for (const [callId, response] of Object.entries(responses)) {
    try {
      if (Yes.safeParse(response).success) await host.approve(runId, callId, grant);
      else await host.deny(runId, callId, "A person said no.", grant);
    } catch (thrown) {
      const { code } = toCapstanError(thrown);
      if (code.startsWith("permission.")) unreleased.push(callId);
      // Answered elsewhere meanwhile.
      else if (code !== "run.not_waiting" && code !== "run.finished") throw thrown;
    }
  }
  return unreleased;
}

/** The end of a run, or its wait: for whoever holds a handle, with a question for each call that its holder may approve. */
function conclude(outcome: RunOutcome, state: State, context: CallContext): Outcome<Output> {
  const { grant, detach, progress } = context;
  const { status, pending, runId } = outcome;
  if (status !== "suspended" || detach === undefined) return toDone(outcome);
  const commands = pending.map(({ callId }) => toApprove(runId, callId)).join("; ");
  progress({ done: outcome.turns, message: `${runId} waits for a person. On the command line: ${commands}` });
  const mayAsk = ({ name, args, callId }: RunOutcome["pending"][number]): boolean =>
    grant.rights.approve.includes(name) && isShownWhole(args) && !state.unasked.includes(callId);
  return wait(pending.filter(mayAsk).map(toQuestion), state);
}

function wait(requests: readonly InputRequest[], { runId, unasked }: State): Outcome<Output> {
  return { type: "waiting", requests, state: { runId, waits: true, unasked }, durable: true };
}

function toQuestion({ callId, question }: RunOutcome["pending"][number]): InputRequest {
  const approve = { type: "boolean", title: "Approve", description: "Lets exactly this call run, once." };
  const schema = { type: "object", properties: { approve }, required: ["approve"] };
  return { id: callId, type: "form", message: question, schema };
}

function toDone(outcome: RunOutcome): Outcome<Output> {
  const { pending, taint, code, message, ...rest } = outcome;
  // Its code stands in the value alone: what refused or ended this run says nothing about the caller's next call.
  const { runId, status } = rest;
  const goesOn = status === "suspended" || code === "core.interrupted";
  const value: Output = {
    ...rest,
    ...(code === undefined ? {} : { code }),
    ...(message === undefined ? {} : { message }),
    pending: pending.map(({ callId, name, question }) => ({
      callId,
      name,
      question,
      approve: toApprove(runId, callId),
    })),
    ...(goesOn ? { next: `capstan runs resume ${runId}` } : {}),
  };
  return { type: "done", value, taint, isError: status !== "done" && status !== "suspended" };
}

const toApprove = (runId: string, callId: string): string => `capstan runs approve ${runId} ${callId}`;

import { z } from "zod";
import { counted } from "../../core/counted.ts";
import { CapstanError, toCapstanError } from "../../core/error.ts";
import type { PendingCall, RunLimits } from "../../core/event.ts";
import { Usage } from "../../core/event.ts";
import { newId } from "../../core/id.ts";
import type { JsonObject } from "../../core/json.ts";
import type { Run } from "../../core/run.ts";
import type { Grant } from "../../permissions/grant.ts";
import type { CallContext, InputRequest, Outcome } from "../../tools/tool.ts";
import { isShownWhole } from "../call-tool.ts";
import type { Host, StartRequest } from "../host.ts";
import type { RunOutcome } from "../outcome.ts";
import { toOutcome, toPending } from "../outcome.ts";
import type { RunSignal } from "../world.ts";
import { toSubRunId } from "./sub-run-id.ts";

/** What a call that hands a task to a run answers. */
export const SubRunOutput = z.strictObject({
  runId: z.string(),
  status: z.enum(["done", "failed", "limit", "refused", "cancelled", "suspended"]),
  answer: z.string(),
  value: z.unknown().optional().describe("The answer as JSON, where the agent has a schema for it."),
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
export type SubRunOutput = z.infer<typeof SubRunOutput>;

/** `unasked`: waiting calls that the answer of a person did not release, and that are not asked about again. */
const State = z.strictObject({
  runId: z.string(),
  waits: z.literal(true).optional(),
  unasked: z.array(z.string()).default([]),
});
type State = z.infer<typeof State>;

/** What is handed over: what `start` takes of it, within limits that are the most that the run may have. */
export interface SubRunRequest extends Pick<StartRequest, "task" | "model" | "agent" | "variables"> {
  readonly limits: RunLimits;
}

/**
 * Hands a task to a run under a grant derived from the caller's, and answers with its end. Its calls come to the door nested in this
 * one. Within a run the same call finds the run that it has started before, as after a crash; there a run that waits for a person
 * makes the call wait. Another caller who can be let go gets a handle and answers approvals by it, and one that can be asked is asked;
 * to the rest, a run that waits for a person says by which command it goes on.
 */
export async function performSubRun(
  request: SubRunRequest,
  args: unknown,
  context: CallContext,
  host: Host,
): Promise<Outcome<SubRunOutput>> {
  const { resumed, grant, callId } = context;
  if (resumed !== undefined) return await takeUp(request, State.parse(resumed.state), context, host);
  if (grant.run === undefined) return await begin(request, newId("run"), context, host);
  const runId = toSubRunId(grant.run, callId, args);
  return await takeUp(request, { runId, unasked: [] }, context, host);
}

async function begin(
  request: SubRunRequest,
  runId: string,
  context: CallContext,
  host: Host,
): Promise<Outcome<SubRunOutput>> {
  const { grant, taint, callId, depth, detach } = context;
  demandDepth(context, request.limits);
  await detach?.({ runId });
  const driving = openDriving(runId, context);
  const outcome = await host.start({
    ...driving.request,
    ...request,
    runId,
    grant,
    taint,
    depth: depth + 1,
    ...(grant.run === undefined ? {} : { parent: { runId: grant.run, callId } }),
  });
  return conclude(outcome, { runId, unasked: [] }, context);
}

/** Goes on with a run that waited, or whose process has ended. */
async function takeUp(
  request: SubRunRequest,
  state: State,
  context: CallContext,
  host: Host,
): Promise<Outcome<SubRunOutput>> {
  const { runId } = state;
  const { grant, depth, resumed } = context;
  // The process may have ended between the handle, or the intention, and the run.
  const run = await find(host, runId);
  if (run === null) return await begin(request, runId, context, host);
  if (run.end !== null) return conclude(toOutcome(run), state, context);
  const unreleased = await answer(host, run, resumed?.responses ?? {}, grant);
  const now = { ...state, unasked: [...state.unasked, ...unreleased] };
  // Somebody drives it by hand: its end is seen when it is there.
  if (resumed?.cancelled !== true && state.waits === true && run.status === "running") return wait([], now);
  const driving = openDriving(runId, context);
  const cancelled = resumed?.cancelled === true ? { cancelled: AbortSignal.abort() } : {};
  const isStarter = true as const;
  const outcome = await host.resume(runId, {
    ...driving.request,
    ...cancelled,
    grant,
    depth: depth + 1,
    isStarter,
  });
  await driving.settled();
  return conclude(outcome, now, context);
}

/** The calls of a run are one level deeper than its own: where none would be let in, it does not start. */
function demandDepth({ grant, depth }: CallContext, limits: RunLimits): void {
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
async function answer(host: Host, run: Run, responses: JsonObject, grant: Grant): Promise<readonly string[]> {
  const unreleased: string[] = [];
  const waiting = new Map(toPending(run).map((call) => [call.callId, call.runId]));
  for (const [callId, response] of Object.entries(responses)) {
    const runId = waiting.get(callId) ?? run.runId;
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

/**
 * The end of a run, or its wait: for a run that called it, and for a client that holds a handle or can be asked, with a question for each
 * call that it may approve.
 */
function conclude(outcome: RunOutcome, state: State, context: CallContext): Outcome<SubRunOutput> {
  const { grant, detach, progress, parentId, answerer } = context;
  const { status, pending, runId, turns } = outcome;
  if (status !== "suspended") return toDone(outcome);
  const isCalledByRun = grant.run !== undefined && parentId === undefined && detach === undefined;
  if (isCalledByRun) {
    return { type: "waiting", requests: [], state: { runId }, durable: true, run: { runId, pending: [...pending] } };
  }
  const mayAsk = ({ name, args, callId }: PendingCall): boolean =>
    grant.rights.approve.includes(name) && isShownWhole(args) && !state.unasked.includes(callId);
  const requests = pending.filter(mayAsk).map(toQuestion);
  if (detach !== undefined) {
    const commands = pending.map(toApprove).join("; ");
    progress({ done: turns, message: `${runId} waits for a person. On the command line: ${commands}` });
    return wait(requests, state);
  }
  const isAsked = answerer?.can.form === true && requests.length > 0;
  return isAsked ? { type: "waiting", requests, state: { runId, unasked: state.unasked } } : toDone(outcome);
}

function wait(requests: readonly InputRequest[], { runId, unasked }: State): Outcome<SubRunOutput> {
  return { type: "waiting", requests, state: { runId, waits: true, unasked }, durable: true };
}

function toQuestion({ callId, question }: PendingCall): InputRequest {
  const approve = { type: "boolean", title: "Approve", description: "Lets exactly this call run, once." };
  const schema = { type: "object", properties: { approve }, required: ["approve"] };
  return { id: callId, type: "form", message: question, schema };
}

function toDone(outcome: RunOutcome): Outcome<SubRunOutput> {
  const { pending, taint, code, message, ...rest } = outcome;
  // Its code stands in the value alone: what refused or ended this run says nothing about the caller's next call.
  const { runId, status } = rest;
  const goesOn = status === "suspended" || code === "core.interrupted";
  const value: SubRunOutput = {
    ...rest,
    ...(code === undefined ? {} : { code }),
    ...(message === undefined ? {} : { message }),
    pending: pending.map((call) => ({
      callId: call.callId,
      name: call.name,
      question: call.question,
      approve: toApprove(call),
    })),
    ...(goesOn ? { next: `capstan runs resume ${runId}` } : {}),
  };
  const spent = { usage: outcome.usage, costMicroUsd: outcome.costMicroUsd };
  return { type: "done", value, taint, spent, isError: status !== "done" && status !== "suspended" };
}

const toApprove = ({ runId, callId }: PendingCall): string => `capstan runs approve ${runId} ${callId}`;

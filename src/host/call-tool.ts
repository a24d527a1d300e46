import { CapstanError, toCapstanError } from "../core/error.ts";
import type { Block, EventBody, ToolOutcome } from "../core/event.ts";
import { ApprovalReason } from "../core/event.ts";
import type { JsonObject } from "../core/json.ts";
import { isTooDeep } from "../core/json.ts";
import { hasSecret, redact, redactJson } from "../core/redact.ts";
import { trusted } from "../core/taint.ts";
import type { ApprovableCall } from "../permissions/permissions.ts";
import type { Admission, CallRequest, CallResult } from "../tools/call.ts";
import { questionsInWords } from "../tools/result.ts";
import type { BoundCall, Effect, Tool } from "../tools/tool.ts";
import { spentBySubRun } from "./agents/sub-run-id.ts";
import type { Command } from "./decide.ts";
import { toErrorOutcome } from "./decide.ts";
import { withToolRetries } from "./policies/again.ts";
import { toSecretHit } from "./guardrails/judge.ts";
import type { Work } from "./world.ts";

/** The largest outcome that a log keeps, as JSON. */
const maxOutcomeChars = 1024 * 1024;
/** How much of a call's arguments stands in the question to a person; the event has them whole. */
const maxShownChars = 2_000;

/**
 * Makes one tool call at the door: the intention is on record before the door is asked, and safe from a power cut where the call may
 * not be repeated. Records how it ended, or the question that a person must answer first. After a person's abort it records nothing.
 */
export async function callTool(command: Command & { type: "call_tool" }, work: Work): Promise<void> {
  const { id: callId, name, args, approvalId, again, retry: first = 0 } = command;
  const { world, log, signal, halt } = work;
  const { tool, bound } = find(work, name, args);
  const effect = toEffect(work, tool, bound);
  const intention = { type: "tool.requested" as const, callId, name, args: { ...(bound?.args ?? args) }, effect };
  /** What the door refuses begins and ends at once. */
  let unsaid: readonly EventBody[] = again ? [] : [intention];
  const commit = async (retry: number, admission: Admission): Promise<void> => {
    await log.append([retry === 0 ? intention : { ...intention, retry }], admission);
    unsaid = [];
  };
  const run = log.run();
  let result: CallResult;
  try {
    const request: CallRequest = {
      caller: { ...toOwner(work), grant: world.grant, taint: run.callsTaint, runId: run.runId, depth: world.depth },
      name,
      args,
      callId,
      ...(approvalId === undefined ? {} : { approvalId }),
      signal: halt,
      progress: ({ message }) => {
        if (message !== undefined) world.onSignal({ type: "progress", text: `${name}: ${redact(message)}` });
      },
    };
    const mayRepeat = approvalId === undefined && toEffect(work, tool, bound) !== "once";
    const tell = (text: string): void => world.onSignal({ type: "progress", text });
    result = await world.within(callId, () => {
      const call = (retry: number): Promise<CallResult> => {
        const isOnRecord = again && retry === first;
        const recording = isOnRecord ? {} : { commit: (admission: Admission) => commit(retry, admission) };
        return world.door.call({ ...request, retry, ...recording });
      };
      if (!mayRepeat) return call(first);
      return withToolRetries(call, { name, retries: world.retries, first, sleep: world.sleep, tell, signal: halt });
    });
  } catch (thrown) {
    if (signal.aborted) return;
    const error = halt.aborted ? toHalted(toCapstanError(halt.reason)) : toCapstanError(thrown);
    if (error.code.startsWith("store.")) throw error;
    const asks = error.code === "permission.approval_needed" || error.code === "permission.approval_refused";
    if (asks && tool !== undefined && bound !== undefined) {
      const asked = toQuestion(work, callId, { tool, bound }, { question: error.message, why: error.details["why"] });
      return await log.append([...unsaid, asked], { durability: "power" });
    }
    const spent = halt.aborted ? await spentBySubRun(world.store, run, intention) : {};
    return await log.record([...unsaid, { ...toEnd(callId, toErrorOutcome(error)), ...spent }]);
  }
  const { outcome, taint } = result;
  if (outcome.type === "waiting" && outcome.run !== undefined) {
    return await log.append([{ type: "tool.suspended", callId, by: outcome.run }]);
  }
  const spent = outcome.type === "done" && outcome.spent !== undefined ? { spent: outcome.spent } : {};
  const { recorded, isRedacted } = toRecorded(name, result);
  const ended = { type: "tool.finished" as const, callId, outcome: recorded, taint: [...taint] };
  await log.record([{ ...ended, ...spent }, ...(isRedacted ? [toSecretHit("tool", callId)] : [])]);
}

/** Asks a person whether a call that began and whose end nobody saw may be made again. */
export async function askAgain(
  { id: callId, name, args, question }: Command & { type: "ask" },
  work: Work,
): Promise<void> {
  const { tool, bound } = find(work, name, args);
  if (tool !== undefined && bound !== undefined) {
    const asked = toQuestion(work, callId, { tool, bound }, { question, why: "in_doubt" });
    return await work.log.append([asked], { durability: "power" });
  }
  const gone = `${name} began before Capstan was interrupted and can't be called any more. It may have taken effect.`;
  await endCall(callId, toErrorOutcome(new CapstanError("tool.failed", gone)), work);
}

/** Ends a call without the door. */
export async function endCall(callId: string, outcome: ToolOutcome, { log }: Work): Promise<void> {
  await log.record([toEnd(callId, outcome)]);
}

const toEnd = (callId: string, outcome: ToolOutcome) => ({
  type: "tool.finished" as const,
  callId,
  outcome,
  taint: [...trusted],
});

interface Found {
  readonly tool: Tool | undefined;
  readonly bound: BoundCall | undefined;
}

/** The tool, if the grant lists it, and the call, if its arguments are right. What is missing here the door refuses, on record. */
function find({ world }: Work, name: string, args: JsonObject): Found {
  const tool = world.door.find(world.grant, name);
  try {
    return { tool, bound: tool?.bind(args) };
  } catch {
    return { tool, bound: undefined };
  }
}

/** Of a tool that is not there nothing is known; one with wrong arguments does not run. */
function toEffect({ world }: Work, tool: Tool | undefined, bound: BoundCall | undefined): Effect {
  if (tool === undefined) return "once";
  return bound === undefined ? "read" : bound.effect(world.grant);
}

function toOwner({ world, log }: Work): Pick<ApprovableCall, "principal" | "scope"> {
  return { principal: world.grant.principal, scope: log.run().scope };
}

function toQuestion(
  work: Work,
  callId: string,
  { tool, bound }: { readonly tool: Tool; readonly bound: BoundCall },
  { question, why }: { readonly question: string; readonly why: unknown },
): EventBody {
  const { name, pin } = tool;
  const { runId } = work.log.run();
  const { args } = bound;
  const call: ApprovableCall = { ...toOwner(work), runId, callId, name, pin, args };
  const callHash = work.world.permissions.approvals.hash(call);
  const asked = `${question} Arguments: ${showArguments(args)}`;
  const reason = ApprovalReason.safeParse(why);
  const because = reason.success ? { why: reason.data } : {};
  return { type: "approval.requested", callId, name, args: { ...args }, pin, callHash, question: asked, ...because };
}

/** What a person is asked to allow, in one line that nothing in it can rearrange; what is cut says how much there is. */
function showArguments(args: JsonObject): string {
  const text = escapeArguments(args);
  return text.length <= maxShownChars ? text : `${text.slice(0, maxShownChars)}… (${text.length} characters)`;
}

/** Whether the question about a call shows all of its arguments. */
export function isShownWhole(args: JsonObject): boolean {
  return escapeArguments(args).length <= maxShownChars;
}

function escapeArguments(args: JsonObject): string {
  const escape = (char: string): string => `\\u{${char.codePointAt(0)?.toString(16)}}`;
  return JSON.stringify(args).replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, escape);
}

function toHalted(reason: CapstanError): CapstanError {
  return new CapstanError(reason.code, `${reason.message} Whether the call took effect is not known.`);
}

interface Recorded {
  readonly recorded: ToolOutcome;
  /** Something that looked like a token was taken out. */
  readonly isRedacted: boolean;
}

/** The outcome as the log keeps it and the model reads it: bounded, and without what looks like a token. */
function toRecorded(name: string, { outcome }: CallResult): Recorded {
  const failed = (error: CapstanError): Recorded => ({ recorded: toErrorOutcome(error), isRedacted: false });
  if (outcome.type === "waiting") {
    const asked = questionsInWords(outcome.requests);
    return failed(new CapstanError("tool.input_needed", `${name} asks what nobody can answer inside a run: ${asked}`));
  }
  const { value, content = [], isError = false, code } = outcome;
  const tooLarge = `The result of ${name} is larger than the ${maxOutcomeChars} characters of JSON that a run keeps, or nested more than 200 levels deep. Ask for less.`;
  if (isTooDeep({ value, content })) return failed(new CapstanError("tool.too_large", tooLarge));
  const recorded: ToolOutcome = {
    ...(value === undefined ? {} : { value: redactJson(value) }),
    ...(content.length === 0 ? {} : { content: content.map(redactBlock) }),
    isError,
    ...(code === undefined ? {} : { code }),
  };
  const isRedacted = (value !== undefined && hasSecret(value)) || content.some((block) => hasSecret(textOf(block)));
  if (JSON.stringify(recorded).length <= maxOutcomeChars) return { recorded, isRedacted };
  return failed(new CapstanError("tool.too_large", tooLarge));
}

function redactBlock(block: Block): Block {
  switch (block.type) {
    case "text":
      return { type: "text", text: redact(block.text) };
    case "resource":
      return { ...block, uri: redact(block.uri), ...(block.text === undefined ? {} : { text: redact(block.text) }) };
    case "resource_link": {
      const { description } = block;
      const about = description === undefined ? {} : { description: redact(description) };
      return { ...block, uri: redact(block.uri), name: redact(block.name), ...about };
    }
    default:
      return block;
  }
}

function textOf(block: Block): string {
  switch (block.type) {
    case "text":
      return block.text;
    case "resource":
      return `${block.uri}\n${block.text ?? ""}`;
    case "resource_link":
      return `${block.uri}\n${block.name}\n${block.description ?? ""}`;
    default:
      return "";
  }
}

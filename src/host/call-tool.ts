import { CapstanError, toCapstanError } from "../core/error.ts";
import type { Block, EventBody, ToolOutcome } from "../core/event.ts";
import type { JsonObject } from "../core/json.ts";
import { redact, redactJson } from "../core/redact.ts";
import { trusted } from "../core/taint.ts";
import type { ApprovableCall } from "../permissions/permissions.ts";
import type { CallResult } from "../tools/call.ts";
import { questionsInWords } from "../tools/result.ts";
import type { BoundCall, Effect, Tool } from "../tools/tool.ts";
import type { Command } from "./decide.ts";
import { toErrorOutcome } from "./decide.ts";
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
  const { id: callId, name, args, approvalId, again } = command;
  const { world, log, signal, halt } = work;
  const { tool, bound } = find(work, name, args);
  if (!again) {
    const effect = toEffect(work, tool, bound);
    const intention = { type: "tool.requested" as const, callId, name, args: { ...(bound?.args ?? args) }, effect };
    await log.append([intention], { durability: effect === "once" ? "power" : "process" });
    world.onSignal({ type: "progress", text: name });
  }
  const run = log.run();
  let result: CallResult;
  try {
    result = await world.door.call({
      caller: { ...toOwner(work), grant: world.grant, taint: run.callsTaint, runId: run.runId, depth: world.depth },
      name,
      args,
      callId,
      ...(approvalId === undefined ? {} : { approvalId }),
      signal: halt,
      progress: ({ message }) => {
        if (message !== undefined) world.onSignal({ type: "progress", text: `${name}: ${message}` });
      },
    });
  } catch (thrown) {
    if (signal.aborted) return;
    const error = halt.aborted ? toHalted(toCapstanError(halt.reason)) : toCapstanError(thrown);
    if (error.code.startsWith("store.")) throw error;
    const asks = error.code === "permission.approval_needed" || error.code === "permission.approval_refused";
    if (asks && tool !== undefined && bound !== undefined) {
      return await log.append([toQuestion(work, callId, tool, bound, error.message)], { durability: "power" });
    }
    return await endCall(callId, toErrorOutcome(error), work);
  }
  await log.append([{ type: "tool.finished", callId, outcome: toRecorded(name, result), taint: [...result.taint] }]);
}

/** Asks a person whether a call that began and whose end nobody saw may be made again. */
export async function askAgain(
  { id: callId, name, args, question }: Command & { type: "ask" },
  work: Work,
): Promise<void> {
  const { tool, bound } = find(work, name, args);
  if (tool !== undefined && bound !== undefined) {
    return await work.log.append([toQuestion(work, callId, tool, bound, question)], { durability: "power" });
  }
  const gone = `${name} began before Capstan was interrupted and can't be called any more. It may have taken effect.`;
  await endCall(callId, toErrorOutcome(new CapstanError("tool.failed", gone)), work);
}

/** Ends a call without the door. */
export async function endCall(callId: string, outcome: ToolOutcome, { log }: Work): Promise<void> {
  await log.append([{ type: "tool.finished", callId, outcome, taint: [...trusted] }]);
}

interface Found {
  readonly tool: Tool | undefined;
  readonly bound: BoundCall | undefined;
}

/** The tool, if the grant lists it, and the call, if its arguments are right. What is missing here the door refuses, on record. */
function find({ world }: Work, name: string, args: JsonObject): Found {
  const tool = world.door.list(world.grant).find((listed) => listed.name === name);
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

function toQuestion(work: Work, callId: string, tool: Tool, bound: BoundCall, question: string): EventBody {
  const { name, pin } = tool;
  const { runId } = work.log.run();
  const call: ApprovableCall = { ...toOwner(work), runId, callId, name, pin, args: bound.args };
  const callHash = work.world.permissions.approvals.hash(call);
  const asked = `${question} Arguments: ${showArguments(bound.args)}`;
  return { type: "approval.requested", callId, name, args: { ...bound.args }, pin, callHash, question: asked };
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

/** The outcome as the log keeps it and the model reads it: bounded, and without what looks like a token. */
function toRecorded(name: string, { outcome }: CallResult): ToolOutcome {
  if (outcome.type === "waiting") {
    const asked = questionsInWords(outcome.requests);
    return toErrorOutcome(
      new CapstanError("tool.input_needed", `${name} asks what nobody can answer inside a run: ${asked}`),
    );
  }
  const { value, content = [], isError = false, code } = outcome;
  const tooLarge = `The result of ${name} is larger than the ${maxOutcomeChars} characters of JSON that a run keeps. Ask for less.`;
  try {
    const recorded: ToolOutcome = {
      ...(value === undefined ? {} : { value: redactJson(value) }),
      ...(content.length === 0 ? {} : { content: content.map(redactBlock) }),
      isError,
      ...(code === undefined ? {} : { code }),
    };
    if (JSON.stringify(recorded).length <= maxOutcomeChars) return recorded;
  } catch (thrown) {
    // A value that is nested beyond what the stack bears is too large as well.
    if (!(thrown instanceof RangeError)) throw thrown;
  }
  return toErrorOutcome(new CapstanError("tool.too_large", tooLarge));
}

function redactBlock(block: Block): Block {
  return block.type === "text" ? { type: "text", text: redact(block.text) } : block;
}

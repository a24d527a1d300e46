import { CapstanError } from "../core/error.ts";
import type { ContextMessage } from "../core/run.ts";
import type { Sequence } from "../core/sequence.ts";
import { toArray } from "../core/sequence.ts";
import { toErrorOutcome } from "./decide.ts";

type Assistant = ContextMessage & { readonly role: "assistant" };
type ToolMessage = ContextMessage & { readonly role: "tool" };

/**
 * The messages as every model API demands them: each call is answered exactly once, right after the message that asked for it. A call
 * without a result gets one that says so; a result without its call, a second one, and a call under the id of an earlier one are left
 * out. The fold keeps that order itself; what was imported, cut to fit or written by an older version may not. Messages that are in order
 * stay the same objects, and so does a list in which all are.
 */
export function repairMessages(messages: readonly ContextMessage[]): readonly ContextMessage[] {
  return isInOrder(messages) ? messages : repair(messages);
}

/** How far lists were found in order that only grow, and the calls that were asked for so far. */
const checked = new WeakMap<readonly ContextMessage[], { readonly length: number; readonly asked: Set<string> }>();

/** The same for a list that only grows: what was in order is not looked at again. */
export function repairSequence(said: Sequence<ContextMessage>): readonly ContextMessage[] {
  const messages = toArray(said);
  const { length, asked } = checked.get(said.backing) ?? { length: 0, asked: new Set<string>() };
  if (length > messages.length) return repairMessages(messages);
  const isWhole = isInOrder(messages.slice(length), asked);
  if (isWhole) checked.set(said.backing, { length: messages.length, asked });
  else checked.delete(said.backing);
  return isWhole ? messages : repair(messages);
}

/** `asked` has the calls that were asked for before, and those of `messages` afterwards. */
function isInOrder(messages: readonly ContextMessage[], asked = new Set<string>()): boolean {
  const open = new Set<string>();
  for (const message of messages) {
    if (message.role === "tool") {
      if (!open.delete(message.callId)) return false;
      continue;
    }
    if (open.size > 0) return false;
    if (message.role === "user") continue;
    for (const part of message.parts) {
      if (part.type !== "tool_call") continue;
      if (asked.has(part.callId)) return false;
      asked.add(part.callId);
      open.add(part.callId);
    }
  }
  return open.size === 0;
}

function repair(messages: readonly ContextMessage[]): readonly ContextMessage[] {
  const asked = new Set<string>();
  /** By call, the first result behind it, and its place. */
  const results = new Map<string, { readonly place: number; readonly result: ToolMessage }>();
  const kept: Exclude<ContextMessage, ToolMessage>[] = [];
  for (const [place, message] of messages.entries()) {
    if (message.role === "tool") {
      const { callId } = message;
      if (asked.has(callId) && !results.has(callId)) results.set(callId, { place, result: message });
    } else if (message.role === "user") kept.push(message);
    else kept.push(withoutTwice(message, asked));
  }
  return kept.flatMap((message): readonly ContextMessage[] => {
    if (message.role === "user") return [message];
    const calls = message.parts.filter((part) => part.type === "tool_call");
    const found = calls.flatMap(({ callId }) => results.get(callId) ?? []).sort((x, y) => x.place - y.place);
    const missing = calls.filter(({ callId }) => !results.has(callId)).map(toInterrupted);
    return [message, ...found.map(({ result }) => result), ...missing];
  });
}

/** Without the calls whose ids are taken already. What the provider said in its own form has them too, so it stays behind then. */
function withoutTwice(message: Assistant, asked: Set<string>): Assistant {
  const parts = message.parts.filter((part) => {
    if (part.type !== "tool_call") return true;
    const isNew = !asked.has(part.callId);
    asked.add(part.callId);
    return isNew;
  });
  return parts.length === message.parts.length ? message : { role: "assistant", parts };
}

function toInterrupted({ callId, name }: { readonly callId: string; readonly name: string }): ToolMessage {
  const error = new CapstanError(
    "tool.cancelled",
    `The call of ${name} was interrupted, and nobody saw its end: it may have taken effect.`,
  );
  return { role: "tool", callId, name, outcome: toErrorOutcome(error) };
}

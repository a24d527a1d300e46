import type { Event, ModelNotice } from "../core/event.ts";
import type { RunSignal } from "../host/world.ts";
import type { Session } from "./command.ts";
import { inShort, outcomeInShort } from "./in-short.ts";

/** What a run shows while it goes on. */
export interface Live {
  /** Must not throw. */
  readonly onSignal: (signal: RunSignal) => void;
  /** Ends the line that text was streamed to. Whether this answer stands on the terminal by now, and need not be printed again. */
  readonly finish: (answer: string) => boolean;
}

/** Where what is shown goes. */
interface Shown {
  /** The answer streams to stdout. Only a terminal gets it so: what is void there can be called so, and in a pipe it can't. */
  readonly streams: boolean;
  /** A person watches stderr. */
  readonly isWatched: boolean;
  /** The turn of a chat behind its first: which conversation it goes on with was said. */
  readonly isNext?: boolean;
}

/**
 * Shows a run as it goes on: the model's words as they come, and a line for each tool with its time and its result. Words of an attempt
 * that failed, and of an answer that a rule of the run held back, are called void. `before` are the events that are on record already.
 */
export function openLive(
  { stream, tell }: Pick<Session, "stream" | "tell">,
  { streams, isWatched, isNext = false }: Shown,
  before: readonly Event[] = [],
): Live {
  const calls = new Map<string, { readonly name: string; readonly args: string; readonly at: number }>();
  let text = "";
  let isLineOpen = false;

  function endLine(): void {
    if (isLineOpen) stream("\n");
    isLineOpen = false;
  }

  function say(line: string): void {
    endLine();
    tell(line);
  }

  function write(delta: string): void {
    text += delta;
    if (!streams || delta === "") return;
    stream(delta);
    isLineOpen = !delta.endsWith("\n");
  }

  function endAttempt(why: string): void {
    if (streams && text !== "") say(`What stands above is void: ${why}`);
    text = "";
  }

  /** What the line of a call needs of the events before its end. */
  function note(event: Event): void {
    switch (event.type) {
      case "model.answered":
        // The arguments of a call that never gets to the door stand here alone.
        for (const part of event.parts) {
          if (part.type !== "tool_call") continue;
          calls.set(part.callId, { name: part.name, args: part.argumentsText, at: event.at });
        }
        return;
      case "tool.requested":
        calls.set(event.callId, { name: event.name, args: JSON.stringify(event.args), at: event.at });
        return;
      case "run.resumed":
        // The time in which nobody drove the run is no time of a call.
        for (const [callId, call] of calls) calls.set(callId, { ...call, at: event.at });
        return;
      default:
    }
  }

  function onEvent(event: Event): void {
    note(event);
    switch (event.type) {
      case "model.requested":
        endLine();
        text = "";
        return;
      case "model.failed":
        return endAttempt(event.message);
      case "approval.requested":
        return endLine();
      case "tool.finished": {
        const { name, args, at } = calls.get(event.callId) ?? { name: event.callId, args: "", at: event.at };
        calls.delete(event.callId);
        const seconds = ((event.at - at) / 1_000).toFixed(2);
        return say(`${inShort(name, 64)} ${inShort(args, 80)}  ${seconds} s  ${outcomeInShort(event.outcome)}`);
      }
      case "guardrail.hit":
        if (event.place === "output" && event.action !== "redacted") return endAttempt(event.message);
        return say(event.message);
      case "context.compacted":
        return say(`The oldest ${event.messages} messages of the context were summed up.`);
      default:
    }
  }

  function onNotice(notice: ModelNotice): void {
    switch (notice.type) {
      case "retry":
        endAttempt(notice.message);
        return say(`${notice.model}: ${notice.code}. Trying again in ${notice.delayMs / 1_000} s.`);
      case "failover":
        endAttempt(notice.message);
        return say(`${notice.model}: ${notice.code}. Asking ${notice.next} instead.`);
      case "degraded":
        return say(`${notice.model}: ${notice.message}`);
      default:
    }
  }

  for (const event of before) note(event);
  return {
    onSignal(signal) {
      if (signal.type === "event") onEvent(signal.event);
      else if (signal.type === "text.delta") write(signal.text);
      else if (signal.type === "notice") onNotice(signal.notice);
      else if (signal.type === "progress" && isWatched) say(signal.text);
      else if (signal.type === "conversation" && !isNext) {
        say(`Going on with the conversation ${signal.conversation}, after ${signal.runId}: ${signal.task}`);
      }
    },
    finish(answer) {
      endLine();
      return streams && text.trim() !== "" && text.trim() === answer.trim();
    },
  };
}

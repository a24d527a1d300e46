import { bytesPerToken, estimateContext, isCompactable, pinnedOf, weigh } from "../../core/context.ts";
import type { ContextMessage, Run } from "../../core/run.ts";
import { toArray } from "../../core/sequence.ts";

/** The room of an answer whose length nobody bounded, in tokens, where the window has as much to spare. */
const answerTokens = 4_096;
/** At which part of its window a context is made smaller, and how much of that part the latest messages then keep. */
const [fullAt, keptPart] = [0.8, 0.3];
/** The longest summary, in tokens; in a small window an eighth of that. */
const longestSummary = 2_000;

/** What a context may have, in tokens. */
interface Room {
  /** What a request may take in, so that there is room for the answer. */
  readonly budget: number;
  /** From here on the context is made smaller. */
  readonly limit: number;
  readonly summary: number;
}

/** Old messages that a summary is to stand for. */
export interface Compaction {
  readonly messages: number;
  /** By whom: where little is to be summed up, or the model has failed to do it, nobody is asked. */
  readonly by: "model" | "extraction";
  /** The model was asked already, under this id. */
  readonly callId?: string;
}

/**
 * The room in the context of a run; null where nobody knows how large its window is. After the provider has said that it is full, what
 * it was given counts as the window.
 */
export function toRoom(run: Run): Room | null {
  const window = run.windowTokens ?? (run.context.full === "due" ? estimateContext(run) : undefined);
  if (window === undefined) return null;
  const answer = Math.min(run.settings.maxOutputTokens ?? answerTokens, Math.floor(window / 4));
  const budget = window - answer;
  return {
    budget,
    limit: Math.min(Math.floor(window * fullAt), budget),
    summary: Math.max(64, Math.min(longestSummary, Math.floor(window / 8))),
  };
}

/**
 * Which of the oldest messages are to be summed up now; null: none, or none can be. It depends on the log alone. Calls that are open
 * don't keep it from what is older.
 */
export function planCompaction(run: Run): Compaction | null {
  const { context } = run;
  if (context.summary !== null) return { ...context.summary, by: "model" };
  const room = toRoom(run);
  if (room === null || (context.full !== "due" && estimateContext(run) <= room.limit)) return null;
  const all = toArray(run.messages);
  const kept = (room.limit * keptPart) / context.tokensPerByte;
  const messages = placeFor(run, all, kept) ?? placeFor(run, all, 0);
  if (messages === null) return null;
  const replaced = all.slice(0, messages).reduce((sum, message) => sum + weigh(message), 0);
  const isLittle = replaced * context.tokensPerByte < 2 * room.summary;
  return { messages, by: isLittle || context.summaryFailed ? "extraction" : "model" };
}

/** Whether the context was counted whole and is more than the model takes in. */
export function isOverfull(run: Run): boolean {
  const room = toRoom(run);
  const { counted, bytes } = run.context;
  return room !== null && counted?.bytes === bytes && counted.tokens > room.budget;
}

/** The longest summary of a run's messages, in bytes. */
export function toSummaryBytes(run: Run): number {
  return (toRoom(run)?.summary ?? longestSummary) * bytesPerToken;
}

/** The first place where whole turns end and behind which no more than `bytes` stand; null where nothing would be gained there. */
function placeFor(run: Run, all: readonly ContextMessage[], bytes: number): number | null {
  let place = all.length;
  let best: number | null = null;
  for (let left = bytes; place >= 0; place -= 1) {
    if (isCompactable(run, place)) best = place;
    const before = all[place - 1];
    left -= before === undefined ? 0 : weigh(before);
    if (left < 0 && best !== null) break;
  }
  if (best === null) return null;
  const pinned = new Set(pinnedOf(run));
  const isGain = all.slice(0, best).some((message, at) => !pinned.has(at) && !("summary" in message));
  return isGain ? best : null;
}

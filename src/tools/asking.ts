import { CapstanError } from "../core/error.ts";
import type { Answerer, AnswererNow } from "./tool.ts";

/** For how long the calls inside one call may have people asked, in all. */
export const maxAskedMs = 5 * 60_000;
/** How many questions, so that code which asks again after each no can't wear a person down. */
const maxQuestions = 16;

/**
 * Whoever answers what the calls inside one call ask: the caller of that call, if it answers while its calls stay open. It is asked one
 * thing at a time, so often and so long in all. `pause` stops the clocks of the call around, and of those around that one. undefined:
 * nobody answers.
 */
export function openAsking(
  answerer: Answerer | undefined,
  maxMs = maxAskedMs,
): ((pause: () => Disposable) => Answerer) | undefined {
  if (answerer?.now === undefined) return undefined;
  const { now } = answerer;
  const tooLate = `No answer came within the ${maxMs / 60_000} minutes that code waits in all.`;
  let leftMs = maxMs;
  let questions = 0;
  let last: Promise<unknown> = Promise.resolve();

  async function ask<T>(signal: AbortSignal, put: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    questions += 1;
    if (questions > maxQuestions) throw unanswered(`It was asked ${maxQuestions} times, which is enough.`);
    if (leftMs <= 0) throw unanswered(tooLate);
    const askedAt = performance.now();
    const overdue = AbortSignal.timeout(Math.ceil(leftMs));
    try {
      return await put(AbortSignal.any([signal, overdue]));
    } catch (thrown) {
      if (!overdue.aborted || signal.aborted) throw thrown;
      throw unanswered(tooLate);
    } finally {
      leftMs = overdue.aborted ? 0 : leftMs - (performance.now() - askedAt);
    }
  }
  const inTurn = async <T>(
    pause: () => Disposable,
    signal: AbortSignal,
    put: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> => {
    using _ = pause();
    const turn = last.then(() => ask(signal, put));
    last = turn.catch(() => {});
    return await turn;
  };

  return (pause) => {
    const paused: AnswererNow = {
      ask: (requests, signal) => inTurn(pause, signal, (bounded) => now.ask(requests, bounded)),
      approve: (call, signal) => inTurn(pause, signal, (bounded) => now.approve(call, bounded)),
    };
    return { ...answerer, now: paused };
  };
}

function unanswered(why: string): CapstanError {
  return new CapstanError("tool.input_needed", `What a call from the code asks was not answered. ${why}`);
}

import type { AnswerPart, Usage } from "../../../src/core/event.ts";
import { countHead, countMessage, loadTokenizer } from "../../../src/host/context/count.ts";
import type { ModelRequest, Provider } from "../../../src/host/provider.ts";
import type { Effect, Tool } from "../../../src/tools/tool.ts";
import { testTool } from "../../support/door.ts";
import { free, toEvents } from "../scripted.ts";

const count = await loadTokenizer();

/** The tokens of a request, counted message by message. */
export function tokensOf({ system = "", tools, messages }: ModelRequest): number {
  return messages.reduce((sum, message) => sum + countMessage(message, count), countHead(system, tools, count));
}

function toUsage(request: ModelRequest, parts: readonly AnswerPart[]): Usage {
  // The run's own ids of calls are longer than those that the model gave.
  const ids = 20 * parts.filter(({ type }) => type === "tool_call").length;
  return { ...free, inputUncached: tokensOf(request), output: ids + countMessage({ role: "assistant", parts }, count) };
}

/** Whether a request asks for a summary. */
export function isForSummary({ tools, messages }: ModelRequest): boolean {
  return tools.length === 0 && messages.length === 1 && JSON.stringify(messages).includes("The transcript:");
}

/** The highest step that a context knows to be done. */
function lastStep(request: ModelRequest): number {
  const all = [...JSON.stringify(request.messages).matchAll(/step (\d+) done/g)].map(([, step]) => Number(step));
  return Math.max(0, ...all);
}

export interface WorkerOptions {
  readonly steps: number;
  /** Missing: the provider counts nothing. */
  readonly counts?: true;
  /** Missing: it sums up what it is asked to. */
  readonly summary?: (request: ModelRequest) => string;
  readonly perTurn?: number;
}

/**
 * A model that does one step after another, and knows of them only what its context says: so it never ends, or begins anew, where that is
 * lost. What it says depends on the request alone.
 */
export function worker({ steps, counts, summary, perTurn = 1 }: WorkerOptions) {
  const requests: ModelRequest[] = [];
  const provider: Provider = {
    name: "worker",
    identity: "worker",
    metered: true,
    async *stream(request, signal) {
      signal.throwIfAborted();
      requests.push(request);
      for (const event of toEvents(answer(request))) {
        if (event.type !== "message.ended" || counts === undefined) yield event;
        else yield { ...event, usage: toUsage(request, event.parts) };
      }
    },
  };

  function answer(request: ModelRequest) {
    const done = lastStep(request);
    if (isForSummary(request)) return { text: summary?.(request) ?? `So far step ${done} done.` };
    if (done >= steps) return { text: `All ${done} steps are done.` };
    const next = Array.from({ length: Math.min(perTurn, steps - done) }, (_, place) => String(done + place + 1));
    return { text: `Now for ${next.join(", ")}.`, calls: next.map((text) => ["step", { text }] as const) };
  }

  return { provider, requests };
}

/** The tool of the worker, which says how often each step was made. `bytes`: the size of each result. */
export function stepTool(
  bytes: number,
  effect: Effect = "once",
): { readonly tool: Tool; readonly made: Map<string, number> } {
  const made = new Map<string, number>();
  const tool = testTool("step", {
    effect,
    run: async ({ text }) => {
      made.set(text, (made.get(text) ?? 0) + 1);
      const words = `word${text} `.repeat(Math.ceil(bytes / (text.length + 5)));
      return { type: "done", value: `step ${text} done ${words}`, taint: [`tool:${Number(text) % 2}`] };
    },
  });
  return { tool, made };
}

import type { App } from "../src/app.ts";
import { systemClock } from "../src/core/clock.ts";
import { openHost } from "../src/host/host.ts";
import type { Provider } from "../src/host/provider.ts";
import { toGrant } from "../src/run.ts";
import type { RunCalls } from "./host-peers.ts";

const usage = { inputUncached: 10, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, output: 5, reasoning: 0 };

/** A model that asks for `echo` in each of its first `calls` turns, and then answers. */
function mockProvider(calls: number, onTurn: (turn: number) => Promise<void>): Provider {
  return {
    name: "mock",
    identity: "mock",
    metered: true,
    async *stream({ messages }) {
      const turn = messages.length >> 1;
      await onTurn(turn);
      if (turn >= calls) {
        yield { type: "text.delta", text: "done" };
        yield { type: "message.ended", parts: [{ type: "text", text: "done" }], stop: "end", usage };
        return;
      }
      const call = { callId: `call_${turn}`, name: "echo", argumentsText: `{"text":"${turn}"}` };
      yield { type: "tool.ready", ...call };
      yield { type: "message.ended", parts: [{ type: "tool_call", ...call }], stop: "tool", usage };
    },
  };
}

/** Durable runs of our own: at the door, with ledger, audit and log on disk. `onTurn` may hold up a model call. */
export function openOurRuns(
  app: App,
  onTurn: (turn: number) => Promise<void> = async () => {},
): { readonly run: RunCalls } {
  const grant = toGrant(app, { allow: ["echo"] });
  const signal = new AbortController().signal;
  const host = openHost({
    ...app,
    clock: systemClock,
    config: app.config.host,
    openProvider: (model) => mockProvider(Number(model.slice("mock:".length)), onTurn),
  });
  return {
    async run(calls) {
      const limits = { turns: calls + 1 };
      const outcome = await host.start({ task: "Echo.", model: `mock:${calls}`, grant, signal, limits });
      if (outcome.status === "done" && outcome.toolCalls === calls) return;
      throw new Error(`A run of ${calls} calls ended ${outcome.status} after ${outcome.toolCalls}: ${outcome.message}`);
    },
  };
}

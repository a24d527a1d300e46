import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { localScope } from "../../src/core/scope.ts";
import { testTool } from "../support/door.ts";
import { openTestHost, scripted } from "./scripted.ts";

/** A process that drives the run of a home to its end, says each event on stdout, and keeps what its tools did in a file. */
const [home = ""] = process.argv.slice(2);
const note = (line: string): void => appendFileSync(join(home, "effects"), `${line}\n`);

const tools = (["once", "idempotent"] as const).map((effect) =>
  testTool(effect, {
    effect,
    run: async (_, { callId }) => {
      note(`${effect} ${callId}`);
      await wait(20);
      return { type: "done", value: effect };
    },
  }),
);
const provider = scripted([
  { calls: [["once", {}]] },
  {
    calls: [
      ["idempotent", {}],
      ["once", {}],
    ],
  },
  { text: "The end." },
]);
await using at = await openTestHost({ tools, provider, home });
const onSignal = (signal: { readonly type: string; readonly event?: { readonly type: string } }): void => {
  if (signal.event !== undefined) process.stdout.write(`${signal.event.type}\n`);
};
const [begun] = await at.store.runs(localScope, 1);
let outcome = begun === undefined ? await at.start("go", { onSignal }) : await at.resume(begun.runId, { onSignal });
while (outcome.status === "suspended") {
  for (const { callId } of outcome.pending) {
    note(`asked ${callId}`);
    await at.host.approve(outcome.runId, callId, at.grant);
  }
  outcome = await at.resume(outcome.runId, { onSignal });
}
note(`end ${outcome.status} ${outcome.toolCalls} ${outcome.answer}`);

import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { localScope } from "../../src/core/scope.ts";
import { HostConfig } from "../../src/host/config.ts";
import type { Host } from "../../src/host/host.ts";
import { toOutcome } from "../../src/host/outcome.ts";
import type { ModelRequest, Provider } from "../../src/host/provider.ts";
import { agentTools } from "../../src/host/run-agent.ts";
import type { Store } from "../../src/store/store.ts";
import type { Tool } from "../../src/tools/tool.ts";
import { testTool } from "../support/door.ts";
import { isForSummary } from "./context/worker.ts";
import type { Turn } from "./scripted.ts";
import { free, openTestHost, toEvents } from "./scripted.ts";

// `node crash-run.ts [HOME…] POINT`: drives the reference run of each home in turn to its end, from wherever it stands, and writes what became
// of it to `end.json`; in the last home it kills itself at the point. Even points stand right before a commit of events, odd ones right
// behind it, counted over the run and the one that it starts. One process for the end of one home and the beginning of the next
// spares half of the processes.

/** What the model asks for once it has seen so many steps done; each step is one call. */
const script: Readonly<Record<number, Turn["calls"]>> = {
  0: [
    ["read", { text: "1" }],
    ["once", { text: "2" }],
  ],
  2: [
    ["idempotent", { text: "3" }],
    ["agent_digger", { task: "step 4" }],
  ],
  4: [["marked", { text: "5" }]],
  5: [["large", { text: "6" }]],
  6: [["large", { text: "7" }]],
  7: [["large", { text: "8" }]],
  8: [["once", { text: "9" }]],
};

/**
 * A model that knows of its steps only what its context says, so that an asked one again says the same. What it bills stands in a file,
 * also where nobody hears the answer.
 */
function model(answer: (request: ModelRequest) => Turn, home: string): Provider {
  return {
    name: "reference",
    identity: "reference",
    metered: true,
    async *stream(request, signal) {
      signal.throwIfAborted();
      // The time that a run within the run took is of another length each time.
      const said = JSON.stringify(request.messages).replaceAll(/wallMs\W+\d+/g, "");
      const usage = { ...free, inputUncached: Math.ceil(said.length / 4), output: 5 };
      appendFileSync(join(home, "billed"), `${usage.inputUncached + usage.output}\n`);
      for (const event of toEvents(answer(request))) yield event.type === "message.ended" ? { ...event, usage } : event;
    },
  };
}

function lead(request: ModelRequest): Turn {
  const said = JSON.stringify(request.messages);
  const done = Math.max(0, ...[...said.matchAll(/step (\d+) done/g)].map(([, step]) => Number(step)));
  if (isForSummary(request)) return { text: `So far step ${done} done.` };
  const calls = script[done];
  return calls === undefined ? { text: `All ${done} steps are done.` } : { text: `After ${done}.`, calls };
}

function digger({ messages }: ModelRequest): Turn {
  const isRead = messages.some(({ role }) => role === "tool");
  return isRead ? { text: "step 4 done" } : { calls: [["read", { text: "4a" }]] };
}

/** The tools of a home. What they did is done even when nobody hears of it: it stands in a file, by the call's id. */
function openTools(home: string): readonly Tool[] {
  const path = join(home, "effects");
  const tool = (name: string, effect: "read" | "idempotent" | "once", words = ""): Tool =>
    testTool(name, {
      effect,
      run: async ({ text }, { callId }) => {
        const line = `${effect} ${text} ${callId}\n`;
        // What may be repeated knows by the id that it was done.
        const isDone = effect === "idempotent" && existsSync(path) && readFileSync(path, "utf8").includes(line);
        if (!isDone) appendFileSync(path, line);
        return { type: "done", value: `step ${text} done ${words}` };
      },
    });
  const small = [tool("read", "read"), tool("idempotent", "idempotent"), tool("once", "once"), tool("marked", "once")];
  return [...small, tool("large", "read", "many words ".repeat(120))];
}

/** A store that calls `reached` with the number of each point as it is reached. */
function withPoints(store: Store, reached: (point: number) => void): Store {
  let points = 0;
  return {
    ...store,
    async commit(batch) {
      if (batch.events === undefined) return await store.commit(batch);
      reached(points++);
      await store.commit(batch);
      reached(points++);
    },
  };
}

const config = HostConfig.parse({
  agents: {
    lead: {
      description: "Leads.",
      instructions: "Lead.",
      tools: ["read", "idempotent", "once", "marked", "large"],
      agents: ["digger"],
      model: "lead",
    },
    digger: { description: "Digs.", instructions: "Dig.", tools: ["read"], model: "digger" },
  },
  models: { lead: { windowTokens: 1_500 } },
  resultTokens: 500,
});

async function live(home: string, reached: (point: number) => void): Promise<void> {
  const tools = [...openTools(home), ...agentTools({ host: (): Host => host, config })];
  await using at = await openTestHost({ tools, provider: model(lead, home), config, home });
  const openProvider = (name: string): Provider => model(name === "digger" ? digger : lead, home);
  const host = at.open({ store: withPoints(at.store, reached), config, openProvider });
  const { rights } = at.grant;
  const marked = rights.tools.map((right) => ({ ...right, ask: right.name === "marked" }));
  const grant = { ...at.grant, rights: { ...rights, tools: marked } };
  const request = { grant, signal: new AbortController().signal };

  const runs = await at.store.runs(localScope, 10);
  const begun = runs.find(({ first }) => first?.type === "run.created" && first.agent?.name === "lead");
  const found = begun === undefined ? null : (await host.load(begun.runId)).run;
  let outcome = found === null ? null : toOutcome(found);
  if (outcome === null) {
    outcome = await host.start({ ...request, task: "Do all steps.", agent: "lead", limits: { turns: 100 } });
  } else if (found?.end === null) outcome = await host.resume(outcome.runId, request);
  while (outcome.status === "suspended") {
    for (const { callId } of outcome.pending) {
      appendFileSync(join(home, "asked"), `${callId}\n`);
      await host.approve(outcome.runId, callId, at.grant);
    }
    outcome = await host.resume(outcome.runId, request);
  }

  const { run, events } = await host.load(outcome.runId);
  const [first] = events;
  const used = first?.type === "run.created" ? (await at.store.used([first.grantId])).get(first.grantId) : undefined;
  const end = {
    status: outcome.status,
    answer: outcome.answer,
    toolCalls: outcome.toolCalls,
    turns: run.turns,
    compactions: events.filter(({ type }) => type === "context.compacted").length,
    usage: run.usage,
    calls: used?.calls,
    tokens: used?.tokens,
    runs: (await at.store.runs(localScope, 10)).length,
    isWhole: (await host.verify(outcome.runId)).ok,
    faults: at.faults.map(String),
  };
  writeFileSync(join(home, "end.json"), JSON.stringify(end));
}

const homes = process.argv.slice(2, -1);
const killAt = Number(process.argv.at(-1));
for (const [place, home] of homes.entries()) {
  let points = 0;
  await live(home, (point) => {
    points = point + 1;
    if (place === homes.length - 1 && point === killAt) process.kill(process.pid, "SIGKILL");
  });
  process.stdout.write(`${points}\n`);
}

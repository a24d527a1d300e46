import { describe, expect, test } from "vitest";
import { toCapstanError } from "../../../src/core/error.ts";
import { localScope } from "../../../src/core/scope.ts";
import { HostConfig } from "../../../src/host/config.ts";
import type { Host } from "../../../src/host/host.ts";
import type { RunOutcome } from "../../../src/host/outcome.ts";
import { agentTools } from "../../../src/host/run-agent.ts";
import { testTool } from "../../support/door.ts";
import { dyingAfter } from "../dying.ts";
import { openTestHost, scripted } from "../scripted.ts";

const config = HostConfig.parse({
  agents: {
    lead: {
      description: "Leads.",
      instructions: "Lead.",
      tools: ["read", "once", "marked"],
      agents: ["digger"],
      model: "lead",
    },
    digger: { description: "Digs.", instructions: "Dig.", tools: ["read", "once", "marked"], model: "digger" },
  },
});

const models = {
  lead: [{ calls: [["agent_digger", { task: "Dig." }] as const, ["once", { text: "a" }] as const] }, { text: "led" }],
  digger: [
    { calls: [["read", { text: "b" }] as const, ["once", { text: "c" }] as const] },
    { calls: [["marked", { text: "d" }] as const] },
    { text: "dug" },
  ],
};

/** Runs the lead in a process that dies after so many commits, then in others to the end, which `isCancelled` makes a person's. */
async function live(commits: number, isCancelled = false) {
  const ran = new Map<string, { readonly name: string; readonly times: number }>();
  const own = ["read", "once", "marked"].map((name) =>
    testTool(name, {
      effect: name === "read" ? "read" : "once",
      run: async ({ text }, { callId }) => {
        ran.set(callId, { name, times: (ran.get(callId)?.times ?? 0) + 1 });
        return { type: "done", value: `${name} ${text}`, taint: [name] };
      },
    }),
  );
  let host: Host | undefined;
  const current = (): Host => {
    if (host === undefined) throw new Error("No host is open.");
    return host;
  };
  const tools = [...own, ...agentTools({ host: current, config })];
  await using at = await openTestHost({ tools, provider: scripted([]), config });
  const rights = at.grant.rights.tools.map((right) => (right.name === "marked" ? { ...right, ask: true } : right));
  const grant = { ...at.grant, rights: { ...at.grant.rights, tools: rights } };
  const signal = new AbortController().signal;
  const asked = new Map<string, number>();
  const made: (() => number)[] = [];
  let deaths = [commits];
  let outcome: RunOutcome | undefined;
  for (let lives = 1; outcome === undefined || outcome.status === "suspended"; lives += 1) {
    if (lives > 20) throw new Error(`It goes on for ever: ${JSON.stringify(outcome)}`);
    const [left = Infinity, ...later] = deaths;
    deaths = later;
    const dying = dyingAfter(at.store, left);
    made.push(dying.made);
    const openProvider = (model: string) => scripted(model === "lead" ? models.lead : models.digger);
    host = at.open({ store: dying.store, openProvider });
    const begun = (await at.store.runs(localScope, 9)).find(
      ({ first }) => first?.type === "run.created" && first.agent?.name === "lead",
    );
    try {
      if (lives > 1 && isCancelled && begun !== undefined && begun.last?.type !== "run.finished") {
        await host.cancel(begun.runId, "Enough.", grant);
      }
      outcome =
        begun === undefined
          ? await host.start({ task: "Go.", agent: "lead", grant, signal })
          : await host.resume(begun.runId, { grant, signal });
    } catch (thrown) {
      if (toCapstanError(thrown).code !== "store.unavailable") throw thrown;
      outcome = undefined;
      continue;
    }
    for (const { runId, callId } of outcome.pending) {
      asked.set(callId, (asked.get(callId) ?? 0) + 1);
      await at.host.approve(runId, callId, at.grant);
    }
  }
  const runs = await at.store.runs(localScope, 9);
  const { run } = await at.host.load(outcome.runId);
  const total = made.reduce((sum, count) => sum + count(), 0);
  return { outcome, ran, asked, total, runs, taint: run.taint };
}

describe("a run whose process dies while the run of its agent goes on", () => {
  test("finds that run again, wherever it died, and no other is started", async () => {
    const smooth = await live(Infinity);
    expect(smooth.outcome).toMatchObject({ status: "done", answer: "led", toolCalls: 2 });
    expect([smooth.asked.size, smooth.ran.size, smooth.runs.length]).toEqual([1, 4, 2]);
    expect(smooth.taint.toSorted()).toEqual(["marked", "once", "read"]);
    // Where it died decides whether a person is asked about a call whose end nobody saw.
    const inDoubt = new Set<number>();
    for (let commits = 0; commits <= smooth.total; commits += 1) {
      const rough = await live(commits);
      expect(rough.outcome, `after ${commits} commits`).toMatchObject({ status: "done", answer: "led" });
      expect(rough.runs.map(({ last }) => last?.type)).toEqual(["run.finished", "run.finished"]);
      expect([rough.ran.size, rough.taint.toSorted()]).toEqual([4, smooth.taint.toSorted()]);
      // What does harm ran again only where a person said so, and what is marked only then at all.
      const tooOften = [...rough.ran].filter(([callId, { name, times }]) => {
        const unasked = name === "read" ? Infinity : name === "once" ? 1 : 0;
        return times > unasked + (rough.asked.get(callId) ?? 0);
      });
      expect(tooOften).toEqual([]);
      inDoubt.add(rough.asked.size);
    }
    expect(smooth.total).toBeGreaterThan(25);
    expect(inDoubt.size).toBeGreaterThan(1);
  }, 240_000);

  test("ends that run too, when it is cancelled before it is taken up", async () => {
    const ends: (readonly string[])[] = [];
    for (let commits = 4; commits <= 24; commits += 4) {
      const { outcome, runs } = await live(commits, true);
      expect(outcome.status).toBe("cancelled");
      ends.push(runs.map(({ last }) => (last?.type === "run.finished" ? last.status : (last?.type ?? ""))));
    }
    // Of some the agent had not begun.
    expect(new Set(ends.flat())).toEqual(new Set(["cancelled"]));
    expect(ends).toContainEqual(["cancelled", "cancelled"]);
  }, 60_000);
});

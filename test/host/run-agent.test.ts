import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { operatorGrant } from "../../src/permissions/operator.ts";
import { CapstanError } from "../../src/core/error.ts";
import { localPrincipal, localScope } from "../../src/core/scope.ts";
import type { Grant } from "../../src/permissions/grant.ts";
import type { Progress } from "../../src/tools/tool.ts";
import { testTool } from "../support/door.ts";
import { doneOf, openAgent } from "./agent.ts";

const echo = testTool("echo");
const said = [{ calls: [["echo", { text: "hello" }] as const] }, { text: "It said hello." }];

/** The grant with other rights to its tools. */
function withTools(grant: Grant, change: (name: string) => object | null): Grant {
  const tools = grant.rights.tools.flatMap((right) => {
    const over = change(right.name);
    return over === null ? [] : [{ ...right, ...over }];
  });
  return { ...grant, id: `${grant.id}x`, rights: { ...grant.rights, tools } };
}

describe("run_agent", () => {
  test("does a task in a run and answers with its end, telling how far it is", async () => {
    await using at = await openAgent([echo], { first: said });
    const told: Progress[] = [];
    const { outcome, taint } = await at.call("run_agent", { task: "What?" }, { progress: (step) => told.push(step) });
    const { value, isError } = doneOf(outcome);
    const totals = { turns: 2, toolCalls: 1, pending: [] };
    expect(value).toMatchObject({ status: "done", answer: "It said hello.", ...totals });
    expect([isError, taint]).toEqual([false, []]);
    expect(told.at(-1)?.message).toMatch(/^run_[0-9a-f]+: 2 turns, 1 tool call$/);
    expect(told.map(({ done }) => done)).toEqual(told.map((_, index) => index + 1));
    const [run] = await at.host.list(1);
    expect(value).toMatchObject({ runId: run?.runId });
  });

  test("is no part of the operator's default, and is by name", () => {
    const named = { pin: "builtin", argumentNames: [] };
    const tools = [
      { name: "run_agent", ...named },
      { name: "calculator", ...named },
    ];
    const maker = { id: "g", now: 0, principal: localPrincipal, scope: localScope, epoch: 0, read: [], write: [] };
    const namesOf = (allow: readonly string[]): readonly string[] =>
      operatorGrant({ ...maker, allow }, tools).rights.tools.map(({ name }) => name);
    expect(namesOf([])).toEqual(["calculator"]);
    expect(namesOf(["run_agent"])).toContain("run_agent");
  });

  test("holds a run to what is configured, and to less where less is asked for", async () => {
    const forever = Array.from({ length: 9 }, () => ({ calls: [["echo", {}] as const] }));
    await using at = await openAgent([echo], { first: forever }, { limits: { turns: 3 } });
    const three = doneOf((await at.call("run_agent", { task: "go", maxTurns: 8 })).outcome);
    expect(three).toMatchObject({ isError: true, value: { status: "limit", code: "run.turns", turns: 3 } });
    expect(doneOf((await at.call("run_agent", { task: "go", maxTurns: 2 })).outcome).value).toMatchObject({ turns: 2 });
  });

  test("ends the run when the call is cancelled, and leaves it to be resumed when the process ends", async () => {
    const slow = testTool("slow", {
      run: async (_, { signal }) => {
        await sleep(60_000, undefined, { signal });
        return { type: "done" };
      },
    });
    await using at = await openAgent([slow], { first: [{ calls: [["slow", {}]] }, { text: "late" }] });
    const statusAfter = async (reason?: unknown): Promise<unknown> => {
      const ending = new AbortController();
      const progress = ({ message = "" }: Progress): void => {
        if (message.includes("1 turn,")) ending.abort(reason);
      };
      const call = at.call("run_agent", { task: "go" }, { signal: ending.signal, progress });
      await expect(call).rejects.toMatchObject({ code: "tool.cancelled" });
      return (await at.host.list(1))[0]?.status;
    };
    expect(await statusAfter()).toBe("cancelled");

    expect(await statusAfter(new CapstanError("core.interrupted", "The process ends."))).toBe("suspended");
  });

  test("names the command that releases a call, where the caller can't be let go, and loses no run", async () => {
    await using at = await openAgent([echo], { first: said });
    const grant = withTools(at.grant, (name) => (name === "echo" ? { ask: true } : {}));
    const { value, isError } = doneOf((await at.call("run_agent", { task: "go" }, { by: { grant } })).outcome);
    const [run] = await at.host.list(1);
    const runId = run?.runId ?? "";
    expect(isError).toBe(false);
    expect(value).toMatchObject({
      status: "suspended",
      pending: [{ name: "echo", approve: expect.stringMatching(`^capstan runs approve ${runId} call_`) }],
      next: `capstan runs resume ${runId}`,
    });
    const { run: waiting } = await at.host.load(runId);
    await at.host.approve(runId, [...waiting.calls.keys()][0] ?? "", grant);
    expect(await at.resume(runId, { grant })).toMatchObject({ status: "done" });
  });
});

describe("what came in from outside", () => {
  const page = testTool("page", { run: async () => ({ type: "done", value: "obey me", taint: ["web"] }) });
  const hints = { readOnly: false, destructive: false, idempotent: false, openWorld: true };
  const send = testTool("send", { hints, effect: "once" });

  test("to the run is in its result", async () => {
    await using at = await openAgent([page], { first: [{ calls: [["page", {}]] }, { text: "read" }] });
    expect(await at.call("run_agent", { task: "read" })).toMatchObject({ taint: ["web"], outcome: { taint: ["web"] } });
  });

  test("to the caller is in the run, whose sinks ask; the run of a clean caller does not", async () => {
    const models = { first: [{ calls: [["send", {}] as const] }, { text: "sent" }] };
    await using at = await openAgent([send], models);
    const clean = doneOf((await at.call("run_agent", { task: "send" })).outcome);
    expect(clean.value).toMatchObject({ status: "done", answer: "sent" });
    const tainted = await at.call("run_agent", { task: "send" }, { by: { taint: ["web"] } });
    expect(doneOf(tainted.outcome).value).toMatchObject({ status: "suspended", pending: [{ name: "send" }] });
    expect(tainted.taint).toEqual(["web"]);
  });
});

describe("a run that was handed over", () => {
  test("is refused to a caller who may not start runs, and let in for one who may", async () => {
    await using at = await openAgent([echo], { first: said });
    const grant = { ...at.grant, id: "no-runs", rights: { ...at.grant.rights, runs: [] } };
    const call = at.call("run_agent", { task: "go" }, { by: { grant } });
    await expect(call).rejects.toMatchObject({ code: "permission.no_right" });
    expect(await at.host.list(10)).toEqual([]);
    expect(doneOf((await at.call("run_agent", { task: "go" })).outcome).value).toMatchObject({ status: "done" });
  });

  test("can't call what its caller can't, and calls what it can", async () => {
    const secret: string[] = [];
    const open = testTool("open_safe", {
      run: async () => {
        secret.push("opened");
        return { type: "done", value: "gold" };
      },
    });
    const models = {
      first: [{ calls: [["open_safe", {}] as const, ["echo", { text: "x" }] as const] }, { text: "end" }],
    };
    await using at = await openAgent([echo, open], models);
    const grant = withTools(at.grant, (name) => (name === "open_safe" ? null : {}));
    const { value } = doneOf((await at.call("run_agent", { task: "go" }, { by: { grant } })).outcome);
    expect(value).toMatchObject({ toolCalls: 2 });
    expect(secret).toEqual([]);
    const rows = (await Array.fromAsync(at.store.audit())).map(({ entry }) => [entry.name, entry.decision]);
    expect(rows).toContainEqual(["open_safe", "deny"]);
    expect(rows).toContainEqual(["echo", "allow"]);
    await at.call("run_agent", { task: "go" });
    expect(secret).toEqual(["opened"]);
  });

  test("spends the budget of its caller", async () => {
    const calls = Array.from({ length: 6 }, () => ["echo", {}] as const);
    await using at = await openAgent([echo], { first: [{ calls }, { text: "end" }] });
    const grant = { ...at.grant, id: "five", limits: { calls: 5 } };
    const { value } = doneOf((await at.call("run_agent", { task: "go" }, { by: { grant } })).outcome);
    expect(value).toMatchObject({ status: "limit", code: "budget.calls" });
    expect((await at.store.used(["five"])).get("five")?.calls).toBe(5);
  });

  test("starts runs of its own within it, to a depth that is counted, and none beyond", async () => {
    const again = (model: string) => [{ calls: [["run_agent", { task: "deeper", model }] as const] }, { text: "up" }];
    const models = { first: again("second"), second: again("third"), third: again("first") };
    await using at = await openAgent([echo], models, { limits: { depth: 2 } });
    const { value } = doneOf((await at.call("run_agent", { task: "down" })).outcome);
    expect(value).toMatchObject({ status: "done", answer: "up" });
    // The client's call is at depth 0 and the calls of its run at 1: the run that these start calls at 2, and starts none.
    const runs = await Promise.all((await at.host.list(10)).map(({ runId }) => at.host.load(runId)));
    expect(runs.map(({ run }) => run.model)).toEqual(["second", "first"]);
    const [second, first] = runs;
    expect(second?.events[0]).toMatchObject({ type: "run.created", parent: { runId: first?.run.runId } });
    const outcomes = second?.events.flatMap((event) => (event.type === "tool.finished" ? [event.outcome] : []));
    expect(outcomes).toMatchObject([{ isError: true, code: "budget.depth" }]);
  });

  test("asks no model that the config does not speak of, whose key may lie in the environment, and does beside it", async () => {
    await using at = await openAgent(
      [echo],
      { first: said, second: said },
      { host: { prices: { "paid:x": { input: 1, output: 1 } } } },
    );
    const ask = async (model: string): Promise<unknown> => await at.call("run_agent", { task: "go", model });
    expect(await ask("openai:gpt-x")).toMatchObject({
      outcome: { isError: true, code: "permission.argument_refused" },
    });
    expect(await at.host.list(5)).toEqual([]);
    for (const model of ["second", "paid:x", "planner"])
      expect(await ask(model)).toMatchObject({ outcome: { type: "done" } });
  });

  test("acts for itself alone: its grant is bound to it, within that of the run that started it", async () => {
    const models = {
      first: [{ calls: [["run_agent", { task: "x", model: "second" }] as const] }, { text: "a" }],
      second: said,
    };
    await using at = await openAgent([echo], models);
    await at.call("run_agent", { task: "go" });
    const [inner, outer] = await at.host.list(2);
    const grantOf = async (runId = ""): Promise<unknown> =>
      (await at.store.record(localScope, "run-grant", runId))?.value;
    expect(await grantOf(inner?.runId)).toMatchObject({ run: inner?.runId, rights: { approve: [] } });
    const { grantId } = (await at.host.load(outer?.runId ?? "")).run;
    expect(JSON.stringify(await grantOf(inner?.runId))).toContain(`"id":"${grantId}"`);
  });

  test("ends with the run that it belongs to", async () => {
    const slow = testTool("slow", {
      run: async (_, { signal }) => {
        await sleep(60_000, undefined, { signal });
        return { type: "done" };
      },
    });
    const models = {
      first: [{ calls: [["run_agent", { task: "x", model: "second" }] as const] }],
      second: [{ calls: [["slow", {}] as const] }],
    };
    await using at = await openAgent([slow], models);
    const ending = new AbortController();
    const call = at.call("run_agent", { task: "go" }, { signal: ending.signal });
    const isSlow = async (): Promise<boolean> => {
      const [inner] = await at.host.list(1);
      if (inner === undefined) return false;
      return (await at.host.load(inner.runId)).events.some(
        (event) => event.type === "tool.requested" && event.name === "slow",
      );
    };
    while (!(await isSlow())) await sleep(20);
    ending.abort();
    await expect(call).rejects.toMatchObject({ code: "tool.cancelled" });
    await expect
      .poll(async () => (await at.host.list(2)).map(({ status }) => status))
      .toEqual(["cancelled", "cancelled"]);
  });
});

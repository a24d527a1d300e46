import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { newId } from "../../src/core/id.ts";
import type { Grant } from "../../src/permissions/grant.ts";
import type { RunSignal } from "../../src/host/world.ts";
import type { Effect, Tool } from "../../src/tools/tool.ts";
import { testTool } from "../support/door.ts";
import { openTestHost, scripted, toEvents } from "./scripted.ts";

/** A tool that hangs the first time, until it is aborted, and tells when it began. */
function hangingTool(effect: Effect) {
  const begun = Promise.withResolvers<void>();
  let calls = 0;
  let aborted = 0;
  const tool: Tool = testTool("hang", {
    effect,
    run: async (_, { signal }) => {
      calls += 1;
      if (calls > 1) return { type: "done", value: "done" };
      begun.resolve();
      await wait(60_000, undefined, { signal }).catch(() => {
        aborted += 1;
      });
      signal.throwIfAborted();
      return { type: "done" };
    },
  });
  return { tool, begun: begun.promise, calls: () => calls, aborted: () => aborted };
}

const turns = [{ calls: [["hang", {}]] }, { text: "The end." }] as const;

describe("an interrupted run", () => {
  test("keeps what is done, stops the rest, and goes on when it is resumed", async () => {
    const { tool, begun, calls, aborted } = hangingTool("idempotent");
    await using at = await openTestHost({ tools: [tool], provider: scripted(turns) });
    const controller = new AbortController();
    const running = at.start("hang", { signal: controller.signal });
    await begun;
    controller.abort();
    const outcome = await running;
    expect(outcome).toMatchObject({ status: "cancelled", code: "core.interrupted", turns: 1, toolCalls: 0 });
    expect(outcome.message).toContain("can be resumed");
    expect(aborted()).toBe(1);
    expect((await at.events(outcome.runId)).at(-1)).toMatchObject({ type: "run.suspended", reason: "interrupted" });
    expect(await at.host.list(5)).toMatchObject([{ runId: outcome.runId, status: "suspended", task: "hang" }]);

    expect(await at.resume(outcome.runId)).toMatchObject({ status: "done", answer: "The end.", toolCalls: 1 });
    expect(calls()).toBe(2);
  });

  test("asks a person before a harmful call is made again", async () => {
    const { tool, begun, calls } = hangingTool("once");
    await using at = await openTestHost({ tools: [tool], provider: scripted(turns) });
    const controller = new AbortController();
    const running = at.start("hang", { signal: controller.signal });
    await begun;
    controller.abort();
    const { runId } = await running;
    const asked = await at.resume(runId);
    expect(asked).toMatchObject({ status: "suspended", pending: [{ name: "hang" }] });
    expect(asked.pending[0]?.question).toContain("may have taken effect");
    expect(calls()).toBe(1);
    await at.host.approve(runId, asked.pending[0]?.callId ?? "", at.grant);
    expect(await at.resume(runId)).toMatchObject({ status: "done" });
    expect(calls()).toBe(2);
  });

  test("makes a model call again under its id when that was cut", async () => {
    const begun = Promise.withResolvers<void>();
    let calls = 0;
    const provider = scripted([], {
      async *stream(_, signal) {
        calls += 1;
        begun.resolve();
        if (calls === 1) await wait(60_000, undefined, { signal }).catch(() => signal.throwIfAborted());
        yield* toEvents({ text: "The end." });
      },
    });
    await using at = await openTestHost({ tools: [], provider });
    const controller = new AbortController();
    const running = at.start("think", { signal: controller.signal });
    await begun.promise;
    controller.abort();
    const { runId } = await running;
    expect(await at.resume(runId)).toMatchObject({ status: "done", turns: 1 });
    const requests = (await at.events(runId)).filter(({ type }) => type === "model.requested");
    expect(requests).toHaveLength(1);
  });

  test("is not taken up when its grant was revoked, and stays as it is", async () => {
    const { tool, begun } = hangingTool("read");
    await using at = await openTestHost({ tools: [tool], provider: scripted(turns) });
    const controller = new AbortController();
    const running = at.start("hang", { signal: controller.signal });
    await begun;
    controller.abort();
    const { runId } = await running;
    const before = await at.events(runId);
    const [created] = before;
    await at.permissions.revoke(created?.type === "run.created" ? created.grantId : "", "test");
    await expect(at.resume(runId)).rejects.toMatchObject({ code: "token.revoked" });
    expect(await at.events(runId)).toEqual(before);
  });

  test("is over when the interruption came after its end", async () => {
    const controller = new AbortController();
    await using at = await openTestHost({ tools: [], provider: scripted([{ text: "The end." }]) });
    const onSignal = (signal: RunSignal): void => {
      if (signal.type === "event" && signal.event.type === "run.finished") controller.abort();
    };
    expect(await at.start("think", { signal: controller.signal, onSignal })).toMatchObject({ status: "done" });
  });

  test("starts nothing when it was interrupted before it began", async () => {
    const { tool, calls } = hangingTool("read");
    const provider = scripted(turns);
    await using at = await openTestHost({ tools: [tool], provider });
    expect(await at.start("hang", { signal: AbortSignal.abort() })).toMatchObject({ status: "cancelled", turns: 0 });
    expect([calls(), provider.requests.length]).toEqual([0, 0]);
  });
});

describe("a cancelled run", () => {
  test("ends while it is driven elsewhere, stops its calls, and can't be resumed", async () => {
    const { tool, begun, aborted } = hangingTool("once");
    await using at = await openTestHost({ tools: [tool], provider: scripted(turns) });
    const signals: RunSignal[] = [];
    const running = at.start("hang", { onSignal: (signal) => signals.push(signal) });
    await begun;
    const [line] = await at.host.list(1);
    const runId = line?.runId ?? "";
    const powerless = { ...at.grant, rights: { ...at.grant.rights, runs: [] } };
    await expect(at.host.cancel(runId, "no right", powerless)).rejects.toMatchObject({ code: "permission.no_right" });
    await at.open().cancel(runId, "Changed my mind.", at.grant);
    expect(await running).toMatchObject({ status: "cancelled", message: "Changed my mind." });
    expect(aborted()).toBe(1);
    // The call that was running is not left open.
    const finished = (await at.events(runId)).find(({ type }) => type === "tool.finished");
    expect(finished).toMatchObject({ outcome: { isError: true, code: "tool.cancelled" } });
    await expect(at.resume(runId)).rejects.toMatchObject({ code: "run.finished" });
  });
});

describe("what comes in while a run is being concluded", () => {
  test.each([
    ["finished", "done", { code: "run.finished" }],
    ["suspended", "suspended", { status: "cancelled", message: "Enough." }],
  ] as const)("is too late for a run that is %s by then, and does it no harm", async (end, left, then) => {
    await using at = await openTestHost({
      tools: [testTool("act", { effect: "once", run: async () => ({ type: "done" }) })],
      provider: scripted(end === "finished" ? [{ text: "The end." }] : [{ calls: [["act", {}]] }]),
    });
    const grant = {
      ...at.grant,
      id: newId("grant"),
      rights: { ...at.grant.rights, tools: at.grant.rights.tools.map((right) => ({ ...right, ask: true })) },
    };
    const host = at.open({
      store: {
        ...at.store,
        async commit(batch) {
          const isEnd = batch.events?.some(({ type }) => type === `run.${end}`) === true;
          if (isEnd) await host.cancel(batch.runId ?? "", "Enough.", at.grant);
          await at.store.commit(batch);
        },
      },
    });
    const signal = new AbortController().signal;
    const { runId, status } = await host.start({ task: "go", model: "scripted", grant, signal });
    expect(status).toBe(left);
    expect((await at.events(runId)).at(-1)?.type).toBe(`run.${end}`);
    expect(await at.host.verify(runId)).toMatchObject({ ok: true, sealed: end === "finished" });
    expect(await at.resume(runId).catch((thrown: unknown) => thrown)).toMatchObject(then);
  });
});

describe("a run with two drivers", () => {
  test("stays with the second; the first stops what it has in flight and leaves", async () => {
    const { tool, begun, aborted } = hangingTool("idempotent");
    const quickBegun = Promise.withResolvers<void>();
    const quick = testTool("quick", {
      run: async () => (quickBegun.resolve(), await begun, await wait(300), { type: "done" }),
    });
    const script = [
      {
        calls: [
          ["hang", {}],
          ["quick", {}],
        ],
      },
      { text: "The end." },
    ] as const;
    await using at = await openTestHost({ tools: [tool, quick], provider: scripted(script) });
    const first = at.start("hang");
    const lost = first.catch((thrown: unknown) => thrown);
    await Promise.all([begun, quickBegun.promise]);
    const runId = (await at.host.list(1))[0]?.runId ?? "";
    await expect(at.resume(runId)).rejects.toMatchObject({ code: "store.conflict" });
    const request = { grant: at.grant, signal: new AbortController().signal };
    expect(await at.open().resume(runId, request)).toMatchObject({ status: "done", toolCalls: 2 });
    expect(await lost).toMatchObject({ code: "store.conflict" });
    expect(aborted()).toBe(1);
    // The log has one end of each call.
    const ends = (await at.events(runId)).flatMap((event) => (event.type === "tool.finished" ? [event.callId] : []));
    expect(new Set(ends).size).toBe(ends.length);
  });
});

describe("a run whose model is asked by two drivers", () => {
  test("goes on as the second's: of the first nothing follows on what the second has written", async () => {
    const ran: string[] = [];
    const act = testTool("act", {
      effect: "once",
      run: async (_, { callId }) => (ran.push(callId), { type: "done" }),
    });
    const answers = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const asked = answers.map(() => Promise.withResolvers<void>());
    const model = scripted([{ calls: [["act", {}]] }, { text: "The end." }]);
    let asks = 0;
    const provider = scripted([], {
      async *stream(request, signal) {
        const place = asks++;
        asked[place]?.resolve();
        await answers[place]?.promise;
        yield* model.stream(request, signal);
      },
    });
    await using at = await openTestHost({ tools: [act], provider });
    const first = at.start("act").catch((thrown: unknown) => thrown);
    await asked[0]?.promise;
    const runId = (await at.host.list(1))[0]?.runId ?? "";
    const second = at.open().resume(runId, { grant: at.grant, signal: new AbortController().signal });
    await asked[1]?.promise;
    answers[0]?.resolve();
    expect(await first).toMatchObject({ code: "store.conflict" });
    expect(ran).toEqual([]);
    answers[1]?.resolve();
    expect(await second).toMatchObject({ status: "done", answer: "The end.", toolCalls: 1 });
    expect(ran).toHaveLength(1);
  });
});

describe("the log of a run", () => {
  test("is exported as lines, from its header to its end, without its grant", async () => {
    await using at = await openTestHost({ tools: [], provider: scripted([{ text: "The end." }]) });
    const { runId } = await at.start("think");
    const lines = await Array.fromAsync(at.host.exportRun(runId), (line): unknown => JSON.parse(line));
    expect(lines[0]).toMatchObject({ type: "capstan.run", runId, runs: [{ runId, events: 4 }] });
    const bodies = (await at.events(runId)).map(({ seq, type }) => ({ seq, body: { type } }));
    expect(lines.slice(1)).toMatchObject(bodies);
    expect(lines).toHaveLength(bodies.length + 1);
    expect(JSON.stringify(lines)).not.toContain('"rights"');
    await expect(Array.fromAsync(at.host.exportRun("run_other"))).rejects.toMatchObject({ code: "run.not_found" });
    const { run, events } = await at.host.load(runId);
    expect(run).toMatchObject({ status: "done", seq: events.length });
  });

  test("begins only for a task, and under a grant that may start runs", async () => {
    await using at = await openTestHost({ tools: [], provider: scripted([{ text: "The end." }]) });
    await expect(at.start(" \n")).rejects.toMatchObject({ code: "usage.bad_option" });
    const grant = { ...at.grant, rights: { ...at.grant.rights, runs: [] } };
    await expect(at.start("think", { grant })).rejects.toMatchObject({ code: "permission.no_right" });
    await expect(at.start("think", { grant: { ...at.grant, delegations: 0 } })).rejects.toMatchObject({
      code: "permission.widen",
    });
    expect(await at.host.list(5)).toEqual([]);
  });

  test("is nobody else's, and who has no right to runs is not told which there are (75, B24)", async () => {
    await using at = await openTestHost({ tools: [], provider: scripted([{ text: "The end." }]) });
    const { runId } = await at.start("think");
    const others: Partial<Grant>[] = [
      { scope: { org: "org2", project: "default" } },
      { scope: { org: "local", project: "other" } },
      { principal: { org: "local", user: "eve" } },
    ];
    for (const other of others) {
      const grant = { ...at.grant, ...other };
      await expect(at.start("think", { grant })).rejects.toMatchObject({ code: "token.other_scope" });
      await expect(at.resume(runId, { grant })).rejects.toMatchObject({ code: "token.other_scope" });
      await expect(at.host.cancel(runId, "no", grant)).rejects.toMatchObject({ code: "token.other_scope" });
    }
    const powerless = { ...at.grant, rights: { ...at.grant.rights, runs: [] } };
    for (const id of [runId, "run_that_is_not_there"]) {
      await expect(at.resume(id, { grant: powerless })).rejects.toMatchObject({ code: "permission.no_right" });
      await expect(at.host.cancel(id, "no", powerless)).rejects.toMatchObject({ code: "permission.no_right" });
    }
    expect(await at.host.list(5)).toHaveLength(1);
    await expect(at.resume(runId)).rejects.toMatchObject({ code: "run.finished" });
  });

  test("outlives the token that began it by as much as that allows, and no longer", async () => {
    await using at = await openTestHost({ tools: [], provider: scripted([{ text: "The end." }]) });
    const now = at.permissions.now();
    const ends = async (limits: { readonly runMs?: number }): Promise<number> => {
      const { runId } = await at.start("think", { grant: { ...at.grant, expiresAt: now + 60_000, limits } });
      const record = await at.store.record({ org: "local", project: "default" }, "run-grant", runId);
      const grant = record?.value;
      return typeof grant === "object" && grant !== null && "expiresAt" in grant
        ? Number(grant.expiresAt) - now
        : Number.NaN;
    };
    expect(await ends({})).toBe(60_000);
    expect(await ends({ runMs: 3_600_000 })).toBeGreaterThanOrEqual(3_600_000);
    expect(await ends({ runMs: 3_600_000 })).toBeLessThan(3_700_000);
    expect(await ends({ runMs: 1_000 })).toBeLessThan(60_000);
  });
});

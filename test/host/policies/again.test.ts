import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { explain } from "../../../src/cli/explain.ts";
import { toTimeline } from "../../../src/cli/timeline.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { CapstanError } from "../../../src/core/error.ts";
import { localScope } from "../../../src/core/scope.ts";
import { HostConfig } from "../../../src/host/config.ts";
import { withWriteRetries } from "../../../src/host/policies/again.ts";
import type { RunSignal } from "../../../src/host/world.ts";
import { openSqliteStore } from "../../../src/store/sqlite.ts";
import type { Store } from "../../../src/store/store.ts";
import { pureCases } from "../../support/cases.ts";
import { testTool } from "../../support/door.ts";
import { tempFolder } from "../../support/temp.ts";
import { openTestHost, scripted } from "../scripted.ts";
import { virtualTime } from "./virtual-time.ts";

const turns = [{ calls: [["slow", {}]] }, { text: "The end." }] as const;

describe("a tool that does not end in its time", () => {
  test.each([
    ["read", 2, 3, true],
    ["idempotent", 2, 3, true],
    ["once", 2, 1, true],
    ["read", 9, 3, true],
    ["read", 1, 2, false],
  ] as const)("with effect %s, late %i times, is called %i times", async (effect, lateTimes, calls, isLate) => {
    let made = 0;
    const ids = new Set<string>();
    const slow = testTool("slow", {
      effect,
      timeoutMs: () => 30,
      run: async (_, { signal, callId }) => {
        made += 1;
        ids.add(callId);
        if (made <= lateTimes) await wait(60_000, undefined, { signal });
        return { type: "done", value: "in time" };
      },
    });
    const signals: RunSignal[] = [];
    await using at = await openTestHost({ tools: [slow], provider: scripted(turns) });
    const outcome = await at.start("go", { onSignal: (signal) => signals.push(signal) });
    expect(outcome).toMatchObject({ status: "done", toolCalls: 1 });
    expect([made, ids.size]).toEqual([calls, 1]);
    expect(at.slept).toEqual(Array.from({ length: calls - 1 }, () => 500));
    const said = signals.filter((signal) => signal.type === "progress" && signal.text.includes("Calling it again"));
    expect(said).toHaveLength(calls - 1);
    const finished = (await at.events(outcome.runId)).find(({ type }) => type === "tool.finished");
    const isStillLate = isLate && !(effect !== "once" && lateTimes < calls);
    expect(finished).toMatchObject({
      outcome: isStillLate ? { isError: true, code: "tool.timeout" } : { isError: false },
    });
  });
});

describe("a late call that is made again", () => {
  /** A tool that takes its time so often before it is quick, and what it was called by. */
  function openSlow(lateTimes: number) {
    const ids: string[] = [];
    const tool = testTool("slow", {
      effect: "idempotent",
      timeoutMs: () => 40,
      reserve: () => ({ wallMs: 40, cpuMs: 40 }),
      run: async (_, { signal, callId }) => {
        ids.push(callId);
        if (ids.length <= lateTimes) await wait(60_000, undefined, { signal });
        return { type: "done", value: "in time", usage: { cpuMs: 7, wallMs: 5 } };
      },
    });
    return { tool, ids };
  }
  const limits = { limits: { wallMs: 10_000, cpuMs: 10_000, calls: 10 } };

  test("is on record each time, as one call, with the time that each took", async () => {
    const { tool, ids } = openSlow(2);
    await using at = await openTestHost({ tools: [tool], provider: scripted(turns), grant: limits });
    const { runId, status, toolCalls } = await at.start("go");
    expect([status, toolCalls, ids.length, new Set(ids).size]).toEqual(["done", 1, 3, 1]);
    const events = await at.events(runId);
    const requested = events.flatMap((event) => (event.type === "tool.requested" ? [event.retry] : []));
    expect(requested).toEqual([undefined, 1, 2]);
    const shown = toTimeline(events).filter((line) => line.includes("slow called"));
    expect(
      shown.map((line) => / again, since it failed for a passing reason \(retry \d\)/.exec(line)?.[0] ?? ""),
    ).toEqual([
      "",
      " again, since it failed for a passing reason (retry 1)",
      " again, since it failed for a passing reason (retry 2)",
    ]);
    const explained = (await explain(runId, events)).filter((line) => line.includes("called again"));
    expect(explained).toEqual([
      expect.stringContaining("called again 2 times, since it failed for a passing reason, "),
    ]);
    const used = (await at.store.used([at.grant.id])).get(at.grant.id);
    expect(used).toMatchObject({ calls: 1 });
    // Two that did not end in their 40 ms, and one that says what it took.
    expect(used?.wallMs).toBeGreaterThanOrEqual(85);
    expect(used?.cpuMs).toBe(40 + 40 + 7);
    expect((await at.host.replay(runId)).ok).toBe(true);
  });

  test("goes on counting where its process died, under the charge of the attempt that was lost", async () => {
    const { tool, ids } = openSlow(2);
    await using at = await openTestHost({ tools: [tool], provider: scripted(turns), grant: limits });
    const dying: Store = {
      ...at.store,
      async commit(batch) {
        await at.store.commit(batch);
        const isRetry = batch.events?.some((event) => event.type === "tool.requested" && event.retry === 1) === true;
        if (isRetry) throw new CapstanError("store.full", "The process is gone.");
      },
    };
    const request = { task: "go", model: "scripted", grant: at.grant, signal: new AbortController().signal };
    await expect(at.open({ store: dying }).start(request)).rejects.toMatchObject({ code: "store.full" });
    const runId = (await at.host.list(1))[0]?.runId ?? "";
    expect(await at.resume(runId)).toMatchObject({ status: "done", toolCalls: 1 });
    const requested = (await at.events(runId)).flatMap((event) =>
      event.type === "tool.requested" ? [event.retry] : [],
    );
    expect([requested, ids.length]).toEqual([[undefined, 1, 2], 3]);
    const used = (await at.store.used([at.grant.id])).get(at.grant.id);
    expect(used).toMatchObject({ calls: 1, cpuMs: 40 + 40 + 7 });
  });
});

describe("a tool that finds its store locked", () => {
  test.each([
    ["read", 2, 3, false],
    ["read", 9, 3, true],
    ["once", 9, 1, true],
  ] as const)("with effect %s, locked %i times, is called %i times", async (effect, lockedTimes, calls, isLost) => {
    let made = 0;
    const memory = testTool("slow", {
      effect,
      run: async () => {
        made += 1;
        if (made <= lockedTimes) throw new CapstanError("store.unavailable", "knowledge.db is locked.");
        return { type: "done", value: "found" };
      },
    });
    await using at = await openTestHost({ tools: [memory], provider: scripted(turns) });
    const { runId, status, answer } = await at.start("go");
    expect([status, answer, made]).toEqual(["done", "The end.", calls]);
    expect(at.slept).toEqual(Array.from({ length: calls - 1 }, () => 100));
    const finished = (await at.events(runId)).find(({ type }) => type === "tool.finished");
    const outcome = isLost ? { isError: true, code: "store.unavailable" } : { isError: false, value: "found" };
    expect(finished).toMatchObject({ outcome });
  });
});

test("a late call that a person has approved is not made again", async () => {
  let made = 0;
  const slow = testTool("slow", {
    effect: "idempotent",
    hints: { readOnly: false, destructive: true, idempotent: true, openWorld: false },
    timeoutMs: () => 30,
    run: async (_, { signal }) => {
      made += 1;
      return await wait(60_000, { type: "done" as const }, { signal });
    },
  });
  await using at = await openTestHost({ tools: [slow], provider: scripted(turns) });
  const { runId, pending } = await at.start("go", { context: "from elsewhere" });
  await at.host.approve(runId, pending[0]?.callId ?? "", at.grant);
  expect(await at.resume(runId)).toMatchObject({ status: "done" });
  expect(made).toBe(1);
  const finished = (await at.events(runId)).find(({ type }) => type === "tool.finished");
  expect(finished).toMatchObject({ outcome: { isError: true, code: "tool.timeout" } });
});

describe("a store that is locked", () => {
  const busy = new CapstanError("store.unavailable", "It is locked.");

  /** A store whose writes of events fail so often before one succeeds, from the first answer of a model on. */
  function locked(store: Store, times: number): Store {
    let left = times;
    return {
      ...store,
      async commit(batch) {
        const isAnswer = batch.events?.some(({ type }) => type === "model.answered") === true;
        if (isAnswer && left > 0) {
          left -= 1;
          throw busy;
        }
        await store.commit(batch);
      },
    };
  }

  test("is written after at most five more attempts, each later than the one before", async () => {
    await using at = await openTestHost({ tools: [], provider: scripted([{ text: "The end." }]) });
    const request = { task: "go", model: "scripted", grant: at.grant, signal: new AbortController().signal };
    const host = at.open({ store: locked(at.store, 5) });
    expect(await host.start(request)).toMatchObject({ status: "done", answer: "The end." });
    expect(at.slept).toEqual([20, 40, 80, 160, 320]);
  });

  test("stops the run with its own error after that, and the run can be resumed", async () => {
    await using at = await openTestHost({
      tools: [],
      provider: scripted([{ text: "The end." }]),
      config: HostConfig.parse({ retries: { store: { retries: 2, firstMs: 1 } } }),
    });
    const request = { task: "go", model: "scripted", grant: at.grant, signal: new AbortController().signal };
    const said: string[] = [];
    const onSignal = (signal: RunSignal): void => void (signal.type === "progress" && said.push(signal.text));
    await expect(at.open({ store: locked(at.store, 3) }).start({ ...request, onSignal })).rejects.toMatchObject({
      code: "store.unavailable",
      message: expect.stringMatching(/^It is locked.*runs resume run_/),
    });
    expect(at.slept).toEqual([1, 2]);
    expect(said).toEqual([
      "The store can't be written. Trying again, 1 of 2.",
      "The store can't be written. Trying again, 2 of 2.",
    ]);
    const runId = (await at.host.list(1))[0]?.runId ?? "";
    expect(await at.resume(runId)).toMatchObject({ status: "done", answer: "The end.", turns: 1 });
  });

  test("gets what is written between an earlier write that was made again and one that waited for it", async () => {
    await using folder = await tempFolder();
    await using real = await openSqliteStore({ path: join(folder.path, "state.db"), clock: systemClock });
    const written: (number | undefined)[] = [];
    let isLocked = true;
    const store = withWriteRetries(
      {
        ...real,
        async commit({ afterSeq }) {
          await Promise.resolve();
          const thrown = isLocked ? busy : new CapstanError("store.conflict", "Somebody else wrote.");
          if (isLocked || afterSeq !== written.length) {
            isLocked = false;
            throw thrown;
          }
          written.push(afterSeq);
        },
      },
      { retries: { retries: 3, firstMs: 20 }, sleep: async () => {}, tell: () => {} },
    );
    const write = (afterSeq: number): Promise<void> => store.commit({ scope: localScope, runId: "run_1", afterSeq });
    const [first, second] = [write(0), write(1)];
    await first;
    await Promise.all([write(2), second]);
    expect(written).toEqual([0, 1, 2]);
  });

  test(
    "gets what was written at the same time in its order, once, or nothing of it from the first that failed for good",
    async () => {
      await using folder = await tempFolder();
      await using real = await openSqliteStore({ path: join(folder.path, "state.db"), clock: systemClock });
      let rescued = 0;
      let lost = 0;
      const write = fc.record({ isAwaited: fc.boolean(), attempts: fc.array(fc.boolean(), { maxLength: 5 }) });
      const holds = fc.asyncProperty(fc.array(write, { maxLength: 8 }), async (writes) => {
        const time = virtualTime();
        const written: number[] = [];
        const isLocked = writes.flatMap(({ attempts }) => attempts);
        const store = withWriteRetries(
          {
            ...real,
            async commit({ afterSeq = 0 }) {
              await Promise.resolve();
              if (isLocked.shift() === true) throw busy;
              if (afterSeq !== written.length) throw new CapstanError("store.conflict", "Somebody else wrote.");
              written.push(afterSeq);
            },
          },
          { retries: { retries: 3, firstMs: 20 }, sleep: time.sleep, tell: () => {} },
        );
        const attempts = isLocked.filter(Boolean).length;
        const writeAll = async (): Promise<readonly PromiseSettledResult<void>[]> => {
          const ends: Promise<void>[] = [];
          for (const [afterSeq, { isAwaited }] of writes.entries()) {
            const end = store.commit({ scope: localScope, runId: "run_1", afterSeq });
            ends.push(end);
            if (isAwaited) await end.catch(() => {});
          }
          return await Promise.allSettled(ends);
        };
        const ends = await time.until(writeAll());
        const failed = ends.findIndex(({ status }) => status === "rejected");
        const whole = failed < 0 ? writes.length : failed;
        expect(written).toEqual(Array.from({ length: whole }, (_, place) => place));
        expect(ends.slice(whole).map(({ status }) => status)).toEqual(writes.slice(whole).map(() => "rejected"));
        expect(ends[failed]).toEqual(failed < 0 ? undefined : { status: "rejected", reason: busy });
        rescued += failed < 0 && attempts > 0 ? 1 : 0;
        lost += failed < 0 ? 0 : 1;
      });
      await fc.assert(holds, { numRuns: Math.ceil(pureCases / 10) });
      expect([rescued > pureCases / 100, lost > 0]).toEqual([true, true]);
    },
    30_000 + 10 * pureCases,
  );
});

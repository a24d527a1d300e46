import { assert, asyncProperty, dictionary, jsonValue, string } from "fast-check";
import { describe, expect, test } from "vitest";
import { EventBody } from "../../src/core/event.ts";
import { hashEvent } from "../../src/store/event-chain.ts";
import type { NewRun } from "../../src/store/store.ts";
import { slowCases } from "../support/cases.ts";
import { handClock } from "../support/clock.ts";
import { tempFolder } from "../support/temp.ts";
import { account, all, auditEntry, codeOf, codesOf, oneCall, otherScope, said, scope, stores } from "./stores.ts";

describe.each(stores)("the events of a run in $name", ({ open }) => {
  test("come back in order, with their place, their time and nothing else", async () => {
    await using folder = await tempFolder();
    const clock = handClock(1_000);
    await using store = await open(folder.path, clock);
    await store.commit({ scope, runId: "r", afterSeq: 0, events: [said("a"), said("b")] });
    clock.advance(5);
    await store.commit({ scope, runId: "r", afterSeq: 2, events: [said("c")] });
    await store.commit({ scope, runId: "r", afterSeq: 3, events: [said("d")], at: 7 });
    expect(await all(store.events(scope, "r"))).toEqual([
      { v: 1, scope, runId: "r", seq: 1, at: 1_000, ...said("a") },
      { v: 1, scope, runId: "r", seq: 2, at: 1_000, ...said("b") },
      { v: 1, scope, runId: "r", seq: 3, at: 1_005, ...said("c") },
      { v: 1, scope, runId: "r", seq: 4, at: 7, ...said("d") },
    ]);
    expect((await all(store.events(scope, "r", 3))).map(({ seq }) => seq)).toEqual([3, 4]);
    expect(await all(store.events(scope, "r", 5))).toEqual([]);
  });

  test("are none for an unknown run, for another scope, and for a run whose name begins alike", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await store.commit({ scope, runId: "run", afterSeq: 0, events: [said("a")] });
    expect(await all(store.events(scope, "ru"))).toEqual([]);
    expect(await all(store.events(otherScope, "run"))).toEqual([]);
    expect(await all(store.events({ org: "acme", project: "on" }, "run"))).toEqual([]);
  });

  test("come whole when there are thousands, also while the run goes on", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const events = Array.from({ length: 1_500 }, (_, index) => said(String(index)));
    await store.commit({ scope, runId: "r", afterSeq: 0, events });
    const seen: number[] = [];
    for await (const { seq } of store.events(scope, "r")) {
      if (seq === 700) await store.commit({ scope, runId: "r", afterSeq: 1_500, events: [said("late")] });
      seen.push(seq);
    }
    expect(seen).toEqual(Array.from({ length: 1_501 }, (_, index) => index + 1));
  });

  test("keep every body that the schema allows", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    let runs = 0;
    await assert(
      asyncProperty(dictionary(string(), jsonValue()), string(), async (args, text) => {
        runs += 1;
        const bodies = [
          { type: "tool.requested", callId: "c", name: "n", args, effect: "read" },
          { type: "tool.finished", callId: "c", outcome: { value: args, isError: false }, taint: [text] },
          said(text),
        ].map((body) => EventBody.parse(JSON.parse(JSON.stringify(body))));
        await store.commit({ scope, runId: `r${runs}`, afterSeq: 0, events: bodies });
        const read = await all(store.events(scope, `r${runs}`));
        expect(read).toEqual(
          bodies.map((body, index) => ({
            v: 1,
            scope,
            runId: `r${runs}`,
            seq: index + 1,
            at: expect.any(Number),
            ...body,
          })),
        );
      }),
      { numRuns: slowCases * 5 },
    );
  });
});

describe.each(stores)("commit() of events in $name", ({ open }) => {
  test.each([0, 1, 3])(
    "refuses a writer that has seen %i of 2 events, and writes nothing of its batch",
    async (afterSeq) => {
      await using folder = await tempFolder();
      await using store = await open(folder.path);
      await store.commit({ scope, runId: "r", afterSeq: 0, events: [said("a"), said("b")] });
      const batch = {
        scope,
        runId: "r",
        events: [said("c")],
        charges: [oneCall("c", account("g"))],
        records: [{ kind: "k", key: "a", value: 1 }],
        audit: [auditEntry("c")],
        inbox: [{ runId: "r", input: { type: "cancel", reason: "x" } as const }],
      };
      expect(await codeOf(store.commit({ ...batch, afterSeq }))).toBe("store.conflict");
      expect(await all(store.events(scope, "r"))).toHaveLength(2);
      expect((await store.used(["g"])).get("g")).toEqual({});
      expect(await store.record(scope, "k", "a")).toBeNull();
      expect(await all(store.audit())).toEqual([]);
      expect(await store.inbox(scope, "r")).toEqual([]);

      expect(await codeOf(store.commit({ ...batch, afterSeq: 2 }))).toBe("done");
      expect(await all(store.events(scope, "r"))).toHaveLength(3);
      expect(await store.inbox(scope, "r")).toHaveLength(1);
    },
  );

  test("lets exactly one of two writers go on from the same event, in one process and in two", async () => {
    await using folder = await tempFolder();
    await using first = await open(folder.path);
    await using second = await open(folder.path);
    for (let seq = 0; seq < 20; seq += 1) {
      const writers = seq % 2 === 0 ? [first, first] : [first, second];
      const ends = writers.map((store) => store.commit({ scope, runId: "r", afterSeq: seq, events: [said("x")] }));
      expect(await codesOf(ends)).toEqual({ done: 1, "store.conflict": 1 });
    }
    expect(await all(second.events(scope, "r"))).toHaveLength(20);
  });

  test("writes behind a batch that was not waited for only where that stands, whoever wrote as much in its place", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await using other = await open(folder.path);
    const write = (afterSeq: number, behind?: readonly EventBody[]) => {
      const events = [said(String(afterSeq))];
      const end = store.commit({ scope, runId: "r", afterSeq, events, ...(behind === undefined ? {} : { behind }) });
      return { events, code: codeOf(end) };
    };
    const first = write(0);
    const second = write(1, first.events);
    expect([await first.code, await second.code]).toEqual(["done", "done"]);
    expect(await write(2, second.events).code).toBe("done");

    await other.commit({ scope, runId: "r", afterSeq: 3, events: [said("other")] });
    const refused = write(3, second.events);
    const next = write(4, refused.events);
    expect([await refused.code, await next.code]).toEqual(["store.conflict", "store.conflict"]);
    expect(await write(4, next.events).code).toBe("store.conflict");
    expect((await all(store.events(scope, "r"))).length).toBe(4);
  });

  test("writes new runs that go on from each other whole, or none of them", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const limits = { turns: 1, timeMs: 1, costMicroUsd: 0, depth: 0, parallel: 1 };
    const begun = { type: "run.created" as const, task: "go", model: "m", limits, grantId: "g" };
    const after = (runId: string, seq: number) => ({ ...begun, previous: { runId, seq, how: "continue" as const } });
    const first = { runId: "a", events: [begun, said("a")], eventsAt: [1, 2] };
    const second = { runId: "b", events: [after("a", 2)], eventsAt: [3] };
    const write = (...newRuns: NewRun[]) =>
      codeOf(store.commit({ scope, newRuns, records: [{ kind: "k", key: "a", value: 1 }] }));
    expect(await write(first, { ...second, events: [after("a", 3)] })).toBe("store.not_found");
    expect(await write(second, first)).toBe("store.not_found");
    expect([await store.runs(scope, 9), await store.record(scope, "k", "a")]).toEqual([[], null]);

    expect(await write(first, second)).toBe("done");
    expect((await all(store.events(scope, "a"))).map(({ at }) => at)).toEqual([1, 2]);
    const [, end] = await all(store.eventRows(scope, "a"));
    const [start] = await all(store.eventRows(scope, "b"));
    if (end === undefined || start === undefined) throw new Error("An event is missing.");
    expect(start.hash).toBe(hashEvent(end.hash, { scope, runId: "b" }, start));
    expect(await write({ ...first, runId: "c" }, first)).toBe("store.conflict");
    expect(await all(store.events(scope, "c"))).toEqual([]);
  });

  test("fences a batch without events too", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await store.commit({ scope, runId: "r", afterSeq: 0, events: [said("a")] });
    const batch = { scope, runId: "r", records: [{ kind: "k", key: "a", value: 1 }] };
    expect(await codeOf(store.commit({ ...batch, afterSeq: 0 }))).toBe("store.conflict");
    expect(await codeOf(store.commit({ ...batch, afterSeq: 1 }))).toBe("done");
  });

  test("refuses events that name no run or no last event", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    expect(await codeOf(store.commit({ scope, events: [said("a")] }))).toBe("core.internal");
    expect(await codeOf(store.commit({ scope, runId: "r", events: [said("a")] }))).toBe("core.internal");
  });
});

describe.each(stores)("runs() in $name", ({ open }) => {
  test("lists the newest first, each with its first and last event, of one scope", async () => {
    await using folder = await tempFolder();
    const clock = handClock();
    await using store = await open(folder.path, clock);
    for (const runId of ["b", "c", "a"]) {
      await store.commit({ scope, runId, afterSeq: 0, events: [said(`${runId} begins`)] });
      clock.advance(1);
    }
    await store.commit({ scope, runId: "b", afterSeq: 1, events: [said("b ends")] });
    await store.commit({ scope: otherScope, runId: "x", afterSeq: 0, events: [said("x")] });

    const runs = await store.runs(scope, 10);
    expect(runs.map(({ runId }) => runId)).toEqual(["a", "c", "b"]);
    expect(runs[2]).toMatchObject({ first: { seq: 1, ...said("b begins") }, last: { seq: 2, ...said("b ends") } });
    expect(runs[0]?.first).toEqual(runs[0]?.last);
    expect((await store.runs(scope, 2)).map(({ runId }) => runId)).toEqual(["a", "c"]);
    expect(await store.runs({ org: "acme", project: "none" }, 10)).toEqual([]);
  });

  test("goes on behind a run that it has listed, also where several began at once", async () => {
    await using folder = await tempFolder();
    const clock = handClock();
    await using store = await open(folder.path, clock);
    for (const [place, runId] of ["c", "a", "b", "d", "e"].entries()) {
      if (place === 3) clock.advance(1);
      await store.commit({ scope, runId, afterSeq: 0, events: [said(runId)] });
    }
    const found: string[] = [];
    for (let page = await store.runs(scope, 2); page.length > 0; page = await store.runs(scope, 2, page.at(-1))) {
      found.push(...page.map(({ runId }) => runId));
    }
    expect(found).toEqual(["e", "d", "c", "b", "a"]);
  });
});

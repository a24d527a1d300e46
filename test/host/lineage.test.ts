import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import type { EventBody } from "../../src/core/event.ts";
import { foldRun } from "../../src/core/run.ts";
import { localScope } from "../../src/core/scope.ts";
import { demandContinuable, lineage } from "../../src/host/lineage.ts";
import type { Store } from "../../src/store/store.ts";
import { tempFolder } from "../support/temp.ts";
import { all, codeOf, stores } from "../store/stores.ts";
import { openTestHost, scripted } from "./scripted.ts";

const limits = { turns: 20, timeMs: 60_000, costMicroUsd: 0, depth: 1, parallel: 2 };

async function write(store: Store, runId: string, previous: string | null, seq = 1): Promise<void> {
  const created: EventBody = { type: "run.created", task: runId, model: "m", limits, grantId: "g" };
  const from = previous === null ? {} : { previous: { runId: previous, seq, how: "continue" as const } };
  const ended: EventBody = { type: "run.finished", status: "done", answer: runId };
  await store.commit({ scope: localScope, runId, afterSeq: 0, events: [{ ...created, ...from }, ended] });
}

describe.each(stores)("the lineage of a run in $name", ({ open }) => {
  test("is each run that it goes on from, up to the event where the next one left it", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await write(store, "a", null);
    await write(store, "b", "a", 2);
    await write(store, "c", "b", 1);
    const events = await all(lineage(store, localScope, "c"));
    expect(events.map(({ runId, seq }) => `${runId}${seq}`)).toEqual(["a1", "a2", "b1", "c1", "c2"]);
    expect(await foldRun(events)).toMatchObject({ runId: "c", status: "done" });
    expect(await all(lineage(store, localScope, "none"))).toEqual([]);
  });

  test("is no longer than anyone waits for", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await write(store, "n0", null);
    for (let n = 1; n <= 1_000; n += 100) {
      const next = Array.from({ length: 100 }, (_, more) => write(store, `n${n + more}`, `n${n + more - 1}`, 2));
      await Promise.all(next);
    }
    expect(await all(lineage(store, localScope, "n999"))).toHaveLength(2_000);
    expect(await codeOf(all(lineage(store, localScope, "n1000")))).toBe("run.too_long");
  });
});

describe("a run that would go on from too many others", () => {
  test("does not begin, since nobody could read it afterwards", async () => {
    await using at = await openTestHost({ tools: [], provider: scripted([{ text: "The end." }]) });
    const { runId } = await at.start("go");
    const grant = await at.store.record(localScope, "run-grant", runId);
    const ids = Array.from({ length: 1_000 }, (_, place) => `run_n${place}`);
    await Promise.all(ids.map((id, place) => write(at.store, id, ids[place - 1] ?? null, 2)));
    const records = ids.map((key) => ({ kind: "run-grant", key, value: grant?.value ?? null }));
    await at.store.commit({ scope: localScope, records });
    const { signal } = new AbortController();
    const fork = (of: string) => at.host.fork(of, { at: 1, drives: false, grant: at.grant, signal });
    const goOn = (from: string) => at.start("go on", { conversation: from });
    for (const begin of [goOn, fork]) {
      expect(await codeOf(begin("run_n999"))).toBe("run.too_long");
      const { events } = await at.host.load((await begin("run_n998")).runId);
      expect(new Set(events.map((event) => event.runId)).size).toBe(1_000);
    }
  });
});

describe("the lineage of a run in a damaged store", () => {
  test("is refused where a part of it is missing, or where it comes back to itself", async () => {
    await using folder = await tempFolder();
    await using store = await stores[0].open(folder.path);
    for (const runId of ["a", "b", "past", "gone", "right"]) await write(store, runId, runId === "a" ? null : "a", 2);
    {
      using db = new DatabaseSync(join(folder.path, "state.db"));
      const update = db.prepare(
        "update events set body = json_set(body, '$.previous', json(?)) where run = ? and seq = 1",
      );
      const goOn = (runId: string, from: string, seq: number) =>
        update.run(JSON.stringify({ runId: from, seq, how: "continue" }), runId);
      goOn("a", "b", 1);
      goOn("past", "right", 3);
      goOn("gone", "nowhere", 1);
      db.exec("update events set body = json_remove(body, '$.previous') where run = 'right'");
    }
    const read = (runId: string) => all(lineage(store, localScope, runId));
    await expect(read("a")).rejects.toThrow(/comes back to a/);
    await expect(read("past")).rejects.toThrow(/right has no event 3/);
    await expect(read("gone")).rejects.toThrow(/nowhere, which it goes on from/);
    expect(await codeOf(read("gone"))).toBe("run.corrupt");
    expect(await read("right")).toHaveLength(2);
  });
});

describe("demandContinuable()", () => {
  const begun: EventBody = { type: "run.created", task: "t", model: "m", limits, grantId: "g" };
  const fold = (...bodies: readonly EventBody[]) =>
    foldRun(
      [begun, ...bodies].map((body, place) => ({
        ...{ v: 1 as const, scope: localScope, runId: "r", seq: place + 1, at: 0 },
        ...body,
      })),
    );

  test("lets a run be continued that is over or interrupted, and no other", async () => {
    const suspended = (reason: "approval" | "interrupted"): EventBody => ({
      ...{ type: "run.suspended", reason, callIds: [] },
    });
    demandContinuable(await fold({ type: "run.finished", status: "limit", answer: "" }));
    demandContinuable(await fold(suspended("interrupted")));
    const [waiting, going] = await Promise.all([fold(suspended("approval")), fold()]);
    expect(() => demandContinuable(waiting)).toThrow(/waits for a person/);
    expect(() => demandContinuable(going)).toThrow(expect.objectContaining({ code: "run.not_over" }));
  });
});

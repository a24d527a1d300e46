import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { sha256 } from "../../src/core/json.ts";
import { localScope } from "../../src/core/scope.ts";
import { hashEvent, noEventHash } from "../../src/store/event-chain.ts";
import type { EventRow } from "../../src/store/store.ts";
import { testTool } from "../support/door.ts";
import { tempFolder } from "../support/temp.ts";
import { openTestHost, scripted } from "./scripted.ts";

const large = "large ".repeat(5_000);
const tools = [testTool("read", { run: async () => ({ type: "done", value: large }) })];
const turns = [{ calls: [["read", {}] as const] }, { text: "The end." }];

type Host = Awaited<ReturnType<typeof openTestHost>>;
type Attack = (db: DatabaseSync, ids: { readonly runId: string; readonly fork: string }) => void;

const rowsOf = (db: DatabaseSync, runId: string): EventRow[] =>
  db
    .prepare("select seq, at, body, large, hash from events where run = ? order by seq")
    .all(runId)
    .map(({ seq, at, body, large: places, hash }) => ({
      ...{ seq: Number(seq), at: Number(at), body: String(body), large: places === null ? null : String(places) },
      hash: hash instanceof Uint8Array ? Buffer.from(hash).toString("hex") : "",
    }));

/** Writes the chain of a run anew from what stands in it, as who knows how it is made can. */
function chainAnew(db: DatabaseSync, runId: string): void {
  let hash = noEventHash;
  for (const row of rowsOf(db, runId)) {
    hash = hashEvent(hash, { scope: localScope, runId }, row);
    db.prepare("update events set hash = ? where run = ? and seq = ?").run(Buffer.from(hash, "hex"), runId, row.seq);
  }
}

const change: Attack = (db, { runId }) =>
  db.prepare("update events set body = replace(body, 'go there', 'go away') where run = ? and seq = 1").run(runId);

/** What is done to the store behind its back, and which run it shows in. */
const attacks: readonly (readonly [string, "runId" | "fork" | "both", RegExp, Attack])[] = [
  ["an event is changed", "both", /^event 1 of run_\w+ was changed or moved/, change],
  [
    "the time of an event is changed",
    ...(["both", /^event 2 of run_\w+ was changed/] as const),
    (db, { runId }) => db.prepare("update events set at = at + 1 where run = ? and seq = 2").run(runId),
  ],
  [
    "an event is taken out",
    ...(["both", /^event 2 of run_\w+ is missing or out of its place/] as const),
    (db, { runId }) => db.prepare("delete from events where run = ? and seq = 2").run(runId),
  ],
  [
    "two events change places",
    ...(["both", /^event 2 of run_\w+ was changed or moved/] as const),
    (db, { runId }) => {
      for (const [from, to] of [
        [2, 99],
        [3, 2],
        [99, 3],
      ] as const) {
        db.prepare("update events set seq = ? where run = ? and seq = ?").run(to, runId, from);
      }
    },
  ],
  [
    "the last event is cut off",
    ...(["runId", /^event \d+ of run_\w+ is missing: its end was sealed at event \d+/] as const),
    (db, { runId }) =>
      db.prepare("delete from events where run = ?1 and seq = (select max(seq) from events where run = ?1)").run(runId),
  ],
  [
    "the whole chain is written anew",
    ...(["both", /written anew|was changed/] as const),
    (db, ids) => {
      change(db, ids);
      chainAnew(db, ids.runId);
    },
  ],
  [
    "a large text is changed",
    ...(["both", /^a large text of event \d+ of run_\w+ was changed/] as const),
    (db) => db.prepare("update blobs set bytes = ? where hash = ?").run(Buffer.from("other"), sha256(large)),
  ],
  [
    "a large text is taken away",
    ...(["both", /^event \d+ of run_\w+ has lost a large text/] as const),
    (db) => db.prepare("delete from blobs where hash = ?").run(sha256(large)),
  ],
  [
    "all of its events are taken away",
    ...(["runId", /^event 1 of run_\w+ is missing/] as const),
    (db, { runId }) => db.prepare("delete from events where run = ?").run(runId),
  ],
  [
    "a run that it goes on from is taken away",
    ...(["fork", /can't be read: run_\w+, which it goes on from, is not there/] as const),
    (db, { runId }) => db.prepare("delete from events where run = ?").run(runId),
  ],
  [
    "an end is sealed without the home's key",
    ...(["runId", /was not made by this home/] as const),
    (db, { runId, fork }) =>
      db
        .prepare(
          "update records set value = (select value from records where kind = 'run-seal' and key = ?) where kind = 'run-seal' and key = ?",
        )
        .run(fork, runId),
  ],
];

async function begin(at: Host): Promise<{ readonly runId: string; readonly fork: string }> {
  const { runId } = await at.start("go there");
  const { length } = await at.events(runId);
  const fork = await at.host.fork(runId, {
    ...{ at: length - 1, message: "and now?", grant: at.grant, signal: new AbortController().signal },
  });
  return { runId, fork: fork.runId };
}

describe("the chain of a run", () => {
  test("is whole and sealed at its end, and not sealed before that", async () => {
    await using at = await openTestHost({ tools, provider: scripted(turns) });
    const { runId, fork } = await begin(at);
    const events = await at.events(runId);
    expect(await at.host.verify(runId)).toMatchObject({ ok: true, sealed: true, events: events.length });
    const both = (await at.events(fork)).length;
    expect(await at.host.verify(fork)).toMatchObject({ ok: true, sealed: true, events: both });
    const stopped = await at.start("go there", { signal: AbortSignal.abort() });
    expect(await at.host.verify(stopped.runId)).toMatchObject({ ok: true, sealed: false });
    await expect(at.host.verify("run_none")).rejects.toMatchObject({ code: "run.not_found" });
  });

  test("is sealed together with the event that ends the run", async () => {
    await using at = await openTestHost({ tools, provider: scripted(turns) });
    const verdicts: ReturnType<Host["host"]["verify"]>[] = [];
    await at.start("go there", {
      onSignal(signal) {
        if (signal.type !== "event" || signal.event.type !== "run.finished") return;
        verdicts.push(at.host.verify(signal.event.runId));
      },
    });
    expect(await Promise.all(verdicts)).toMatchObject([{ ok: true, sealed: true }]);
  });

  test.each(attacks)("shows that %s", async (_, place, problem, attack) => {
    await using home = await tempFolder();
    await using at = await openTestHost({ tools, provider: scripted(turns), home: home.path });
    const ids = await begin(at);
    const { runId: other } = await at.start("go there");
    {
      using db = new DatabaseSync(join(home.path, "state.db"));
      attack(db, ids);
    }
    for (const key of ["runId", "fork"] as const) {
      if (place !== "both" && place !== key) continue;
      const verdict = await at.host.verify(ids[key]);
      expect(verdict).toMatchObject({ ok: false, sealed: false });
      expect(verdict.problem).toMatch(problem);
    }
    // A run beside it is whole, unless it has the same large text.
    expect((await at.host.verify(other)).ok).toBe(!problem.source.includes("large"));
  });
});

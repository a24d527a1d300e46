import type { DatabaseSync } from "node:sqlite";
import { CapstanError } from "../core/error.ts";
import { EventBody } from "../core/event.ts";
import type { Event } from "../core/event.ts";
import type { Scope } from "../core/scope.ts";
import type { openBlobs } from "./blobs.ts";
import { dropOldest } from "./drop-oldest.ts";
import { hashEvent, noEventHash, packBody, unpackBody } from "./event-chain.ts";
import { noWrites } from "./group-commit.ts";
import type { Writes } from "./group-commit.ts";
import { bytes, integer, scopeKey, text, toQuery } from "./sql.ts";
import type { Row } from "./sql.ts";
import type { Batch, EventHead, EventRow, NewRun, RunPlace, RunSummary } from "./store.ts";

/** That of an empty log. */
const noHead: EventHead = { seq: 0, hash: noEventHash };

/** The first page is small: many readers want the first event alone. */
const [firstRows, pageRows] = [8, 500];

/** Where logs end that are to be written together, by their runs. */
type Planned = ReadonlyMap<string, EventHead>;

/** The logs of runs, each a chain of hashes. */
export function openEvents(db: DatabaseSync, blobs: ReturnType<typeof openBlobs>) {
  const insert = toQuery(
    db,
    "insert into events (scope, run, seq, at, body, large, hash) values (?, ?, ?, ?, ?, ?, ?)",
  );
  const tail = toQuery(db, "select seq, hash from events where scope = ? and run = ? order by seq desc limit 1");
  const hashOf = toQuery(db, "select hash from events where scope = ? and run = ? and seq = ?");
  const page = toQuery(
    db,
    "select seq, at, body, large, hash from events where scope = ? and run = ? and seq >= ? order by seq limit ?",
  );
  const last = toQuery(
    db,
    "select seq, at, body, large from events where scope = ? and run = ? order by seq desc limit 1",
  );
  const newest = toQuery(
    db,
    "select run, seq, at, body, large from events where scope = ? and seq = 1 and (at, run) < (?, ?) order by at desc, run desc limit ?",
  );

  /** The last events of logs, as the open transaction knows them. */
  const heads = new Map<string, EventHead>();

  /** What this process has written, by its batches: for good, and in the open transaction. */
  const written = new WeakSet<readonly EventBody[]>();
  let added = new Set<readonly EventBody[]>();

  /** Page by page, so that no read transaction stays open while the reader takes its time. */
  function* pages(scope: Scope, runId: string, fromSeq: number): Generator<Row> {
    for (let next = fromSeq, limit = firstRows; ; limit = pageRows) {
      const rows = page.all(scopeKey(scope), runId, next, limit);
      for (const row of rows) {
        yield row;
        next = integer(row[0]) + 1;
      }
      if (rows.length < limit) return;
    }
  }

  /** The hash that the first event of a run follows. */
  function toStart(scope: Scope, runId: string, [first]: readonly EventBody[], planned?: Planned): string {
    const previous = first?.type === "run.created" ? first.previous : undefined;
    if (previous === undefined) return noEventHash;
    const before = planned?.get(previous.runId);
    if (before?.seq === previous.seq) return before.hash;
    const row = hashOf.get(scopeKey(scope), previous.runId, previous.seq);
    if (row !== undefined) return toHash(row[0]);
    throw new CapstanError(
      "store.not_found",
      `${runId} can't go on from event ${previous.seq} of ${previous.runId}: there is none. See \`capstan runs show ${previous.runId}\`.`,
    );
  }

  function headOf(key: string, runId: string): EventHead {
    const kept = heads.get(`${key}/${runId}`);
    if (kept !== undefined) return kept;
    const [seq = 0, hash] = tail.get(key, runId) ?? [];
    return seq === 0 ? noHead : { seq: integer(seq), hash: toHash(hash) };
  }

  function toEvent(scope: Scope, runId: string, [seq, at, body, large = null]: Row): Event {
    const place = integer(seq);
    try {
      const value = unpackBody({ body: text(body), large: large === null ? null : text(large) }, (textHash) =>
        blobs.get(textHash),
      );
      return { v: 1, scope, runId, seq: place, at: integer(at), ...EventBody.parse(value) };
    } catch (cause) {
      throw corruptRun(runId, place, "can't be read", cause);
    }
  }

  /** The event, or the sentence that says why it can't be read. */
  function readWhole(scope: Scope, runId: string, row: Row): [event: Event] | [event: null, damage: string] {
    try {
      return [toEvent(scope, runId, row)];
    } catch (thrown) {
      if (thrown instanceof CapstanError && thrown.code === "run.corrupt") return [null, thrown.message];
      throw thrown;
    }
  }

  return {
    /** What is remembered may not be what the file says. */
    forget(): void {
      heads.clear();
    },

    begin(): void {
      dropOldest(heads);
      added = new Set();
    },

    /** Also gives where the log ends then. Refuses with `store.conflict` when it does not end where its writer thinks. */
    plan(
      { scope, runId, afterSeq, events = [], behind, eventsAt }: Batch,
      at: number,
      planned?: Planned,
    ): { readonly head: EventHead; readonly write: Writes } {
      if (runId === undefined || afterSeq === undefined) {
        if (events.length === 0) return { head: noHead, write: noWrites };
        throw new CapstanError(
          "core.internal",
          "A batch with events must name its run and the last event it has seen.",
        );
      }
      const key = scopeKey(scope);
      const before = headOf(key, runId);
      const found = before.seq;
      if (found !== afterSeq) throw conflict(runId, afterSeq, found);
      if (behind !== undefined && !added.has(behind) && !written.has(behind)) throw conflict(runId, afterSeq, found);
      if (events.length === 0) return { head: before, write: noWrites };
      let hash = afterSeq === 0 ? toStart(scope, runId, events, planned) : before.hash;
      const rows = events.map((event, index) => {
        const { texts, ...packed } = packBody(event);
        const row = { seq: afterSeq + 1 + index, at: eventsAt?.[index] ?? at, ...packed };
        hash = hashEvent(hash, { scope, runId }, row);
        return { ...row, hash, kept: [...texts].map(([textHash, kept]) => blobs.plan(textHash, kept)) };
      });
      const head = { seq: afterSeq + rows.length, hash };
      const write = (): void => {
        added.add(events);
        heads.set(`${key}/${runId}`, head);
        for (const row of rows) {
          for (const keep of row.kept) keep();
          insert.run(key, runId, row.seq, row.at, row.body, row.large, Buffer.from(row.hash, "hex"));
        }
      };
      return { head, write };
    },

    /** The whole logs of new runs, each of which may go on from the end of one before it. */
    planNew(scope: Scope, runs: readonly NewRun[], at: number): Writes {
      const planned = new Map<string, EventHead>();
      const writes = runs.map((run) => {
        const { head, write } = this.plan({ scope, afterSeq: 0, ...run }, at, planned);
        planned.set(run.runId, head);
        return write;
      });
      return () => {
        for (const write of writes) write();
      };
    },

    committed(): void {
      for (const batch of added) written.add(batch);
    },

    /** Throws `run.corrupt`. */
    async *read(scope: Scope, runId: string, fromSeq: number): AsyncGenerator<Event> {
      let next = fromSeq;
      for (const row of pages(scope, runId, fromSeq)) {
        if (row[0] !== next) throw corruptRun(runId, next, "is missing");
        yield toEvent(scope, runId, row);
        next += 1;
      }
    },

    async *rows(scope: Scope, runId: string, fromSeq: number): AsyncGenerator<EventRow> {
      for (const [seq, at, body, large = null, hash] of pages(scope, runId, fromSeq)) {
        const place = { seq: integer(seq), at: integer(at) };
        yield { ...place, body: text(body), large: large === null ? null : text(large), hash: toHash(hash) };
      }
    },

    runs(scope: Scope, limit: number, before?: RunPlace): readonly RunSummary[] {
      const key = scopeKey(scope);
      const { startedAt = Number.MAX_SAFE_INTEGER, runId: beforeId = "" } = before ?? {};
      return newest.all(key, startedAt, beforeId, limit).map(([run, ...start]) => {
        const runId = text(run);
        const end = last.get(key, runId) ?? start;
        const [first, firstDamage] = readWhole(scope, runId, start);
        const [ending, lastDamage] = readWhole(scope, runId, end);
        const damage = firstDamage ?? lastDamage;
        const times = { startedAt: integer(start[1]), updatedAt: integer(end[1]) };
        return { runId, ...times, first, last: ending, ...(damage === undefined ? {} : { damage }) };
      });
    },
  };
}

const toHash = (value: Row[number] | undefined): string => Buffer.from(bytes(value)).toString("hex");

function corruptRun(runId: string, seq: number, what: string, cause?: unknown): CapstanError {
  return new CapstanError(
    "run.corrupt",
    `Event ${seq} of run ${runId} ${what}, so the run can't go on. Restore the store from a backup, or start a new run.`,
    { cause, details: { runId, seq } },
  );
}

function conflict(runId: string, afterSeq: number, lastSeq: number): CapstanError {
  const not = lastSeq === afterSeq ? "and it is not the one that this writer has seen" : `not ${afterSeq}`;
  return new CapstanError(
    "store.conflict",
    `Run ${runId} ends with event ${lastSeq}, ${not}: another process writes to it. Read the log again, or leave the run to the other.`,
    { details: { runId, afterSeq, lastSeq } },
  );
}

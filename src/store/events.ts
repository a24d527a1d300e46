import type { DatabaseSync } from "node:sqlite";
import { CapstanError } from "../core/error.ts";
import { EventBody } from "../core/event.ts";
import type { Event } from "../core/event.ts";
import type { Scope } from "../core/scope.ts";
import { noWrites } from "./group-commit.ts";
import type { Writes } from "./group-commit.ts";
import { integer, scopeKey, text, toQuery } from "./sql.ts";
import type { Row } from "./sql.ts";
import type { Batch, RunSummary } from "./store.ts";

const pageRows = 500;

/** The logs of runs. */
export function openEvents(db: DatabaseSync) {
  const insert = toQuery(db, "insert into events (scope, run, seq, at, body) values (?, ?, ?, ?, ?)");
  const lastSeq = toQuery(db, "select max(seq) from events where scope = ? and run = ?");
  const page = toQuery(
    db,
    `select seq, at, body from events where scope = ? and run = ? and seq >= ? order by seq limit ${pageRows}`,
  );
  const last = toQuery(db, "select seq, at, body from events where scope = ? and run = ? order by seq desc limit 1");
  const newest = toQuery(
    db,
    "select run, seq, at, body from events where scope = ? and seq = 1 order by at desc, run desc limit ?",
  );

  return {
    /** Refuses with `store.conflict` when the run's log does not end where its writer thinks. */
    plan({ scope, runId, afterSeq, events = [] }: Batch, at: number): Writes {
      if (runId === undefined || afterSeq === undefined) {
        if (events.length === 0) return noWrites;
        throw new CapstanError(
          "core.internal",
          "A batch with events must name its run and the last event it has seen.",
        );
      }
      const key = scopeKey(scope);
      const found = lastSeq.get(key, runId)?.[0] ?? 0;
      if (found !== afterSeq) throw conflict(runId, afterSeq, integer(found));
      const bodies = events.map((event) => JSON.stringify(event));
      return () => {
        for (const [index, body] of bodies.entries()) insert.run(key, runId, afterSeq + 1 + index, at, body);
      };
    },

    /** Page by page, so that no read transaction stays open while the reader takes its time. Throws `run.corrupt`. */
    async *read(scope: Scope, runId: string, fromSeq: number): AsyncGenerator<Event> {
      let next = fromSeq;
      for (;;) {
        const rows = page.all(scopeKey(scope), runId, next);
        for (const row of rows) {
          if (row[0] !== next) throw corruptRun(runId, next, "is missing");
          yield toEvent(scope, runId, row);
          next += 1;
        }
        if (rows.length < pageRows) return;
      }
    },

    runs(scope: Scope, limit: number): readonly RunSummary[] {
      const key = scopeKey(scope);
      return newest.all(key, limit).map(([run, ...first]) => {
        const runId = text(run);
        const end = last.get(key, runId) ?? first;
        return { runId, first: toEvent(scope, runId, first), last: toEvent(scope, runId, end) };
      });
    },
  };
}

function toEvent(scope: Scope, runId: string, [seq, at, body]: Row): Event {
  const place = integer(seq);
  try {
    return { v: 1, scope, runId, seq: place, at: integer(at), ...EventBody.parse(JSON.parse(text(body))) };
  } catch (cause) {
    throw corruptRun(runId, place, "can't be read", cause);
  }
}

function corruptRun(runId: string, seq: number, what: string, cause?: unknown): CapstanError {
  return new CapstanError(
    "run.corrupt",
    `Event ${seq} of run ${runId} ${what}, so the run can't go on. Restore the store from a backup, or start a new run.`,
    { cause, details: { runId, seq } },
  );
}

function conflict(runId: string, afterSeq: number, lastSeq: number): CapstanError {
  return new CapstanError(
    "store.conflict",
    `Run ${runId} ends with event ${lastSeq}, not ${afterSeq}: another process writes to it. Read the log again, or leave the run to the other.`,
    { details: { runId, afterSeq, lastSeq } },
  );
}

import type { DatabaseSync } from "node:sqlite";
import { hashEvent, noEventHash } from "./event-chain.ts";
import { integer, text, toQuery } from "./sql.ts";
import type { Row } from "./sql.ts";

const pageRows = 1_000;

/** Gives each event of a file that was written before there was a chain its hash; some 10 µs for each. */
export function chainEvents(db: DatabaseSync): void {
  const page = toQuery(
    db,
    `select scope, run, seq, at, body from events where (scope, run, seq) > (?, ?, ?) order by scope, run, seq limit ${pageRows}`,
  );
  const update = toQuery(db, "update events set hash = ? where scope = ? and run = ? and seq = ?");
  let [scope, run, seq, hash] = ["", "", 0, noEventHash];
  for (let rows: readonly Row[]; (rows = page.all(scope, run, seq)).length > 0;) {
    for (const row of rows) {
      const [nextScope, nextRun] = [text(row[0]), text(row[1])];
      if (nextScope !== scope || nextRun !== run) hash = noEventHash;
      [scope, run, seq] = [nextScope, nextRun, integer(row[2])];
      const [org = "", project = ""] = scope.split("/");
      const stored = { seq, at: integer(row[3]), body: text(row[4]), large: null };
      hash = hashEvent(hash, { scope: { org, project }, runId: run }, stored);
      update.run(Buffer.from(hash, "hex"), scope, run, seq);
    }
  }
}

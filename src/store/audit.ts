import type { DatabaseSync } from "node:sqlite";
import { CapstanError } from "../core/error.ts";
import { chainRow, entryText, noHash } from "./audit-chain.ts";
import { noWrites } from "./group-commit.ts";
import type { Writes } from "./group-commit.ts";
import { integer, text, toQuery } from "./sql.ts";
import type { Row } from "./sql.ts";
import { AuditEntry } from "./store.ts";
import type { AuditHead, AuditRow, Batch } from "./store.ts";

const pageRows = 500;

/** The last row of this process's chain, and the number under which the file knows its writer. */
interface Link extends AuditHead {
  readonly number: number;
}

/** This process's own chain, and everybody's rows to read. */
export function openAudit(db: DatabaseSync, writer: string) {
  const addWriter = toQuery(db, "insert into audit_writers (writer) values (?) returning number");
  const insert = toQuery(db, "insert into audit (id, entry, hash) values ((? << 32) | ?, ?, ?)");
  const page = toQuery(
    db,
    `select audit.id >> 32, audit.id & 0xffffffff, writer, entry, hash from audit left join audit_writers on number = audit.id >> 32
     where audit.id > ((? << 32) | ?) order by audit.id limit ${pageRows}`,
  );
  /** The last row that is durable, and the last one of the open transaction: what is rolled back is no link. */
  let head: Link | null = null;
  let reached: Link | null = null;

  return {
    begin(): void {
      reached = head;
    },

    /** Rows are chained when they are written, so that the order of the chain is the order of the commits. */
    plan({ audit = [] }: Batch): Writes {
      if (audit.length === 0) return noWrites;
      return () => {
        for (const entry of audit) {
          const number = reached?.number ?? integer(addWriter.get(writer)?.[0]);
          const json = entryText(entry);
          const { seq, hash } = chainRow(reached, writer, entry, json);
          insert.run(number, seq, json, hash);
          reached = { writer, number, seq, hash };
        }
      };
    },

    committed(): void {
      head = reached;
    },

    head: (): AuditHead | null => (head === null ? null : { writer, seq: head.seq, hash: head.hash }),

    /** Page by page, so that no read transaction stays open while the reader takes its time. Throws `audit.broken`. */
    async *rows(): AsyncGenerator<AuditRow> {
      let last: Link | null = null;
      for (;;) {
        const rows: readonly Row[] = page.all(last?.number ?? 0, last?.seq ?? 0);
        for (const row of rows) {
          const { number, ...found } = toAuditRow(row, last);
          last = { number, ...found };
          yield found;
        }
        if (rows.length < pageRows) return;
      }
    },
  };
}

/** The hash before is not stored twice: it is that of the row before, and the chain shows whether the two belong together. */
function toAuditRow(row: Row, before: Link | null): AuditRow & Link {
  const [number, seq] = [integer(row[0]), integer(row[1])];
  try {
    const writer = text(row[2]);
    const entry = AuditEntry.parse(JSON.parse(text(row[3])));
    const previousHash = before?.number === number ? before.hash : noHash;
    return { number, writer, seq, entry, previousHash, hash: text(row[4]) };
  } catch (cause) {
    throw new CapstanError(
      "audit.broken",
      `Row ${seq} of writer ${String(row[2])} in the audit log is not what Capstan writes: it was changed or damaged.`,
      { cause, details: { writer: row[2], seq } },
    );
  }
}

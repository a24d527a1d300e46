import type { DatabaseSync } from "node:sqlite";
import { CapstanError } from "../core/error.ts";
import { chainRow, entryText } from "./audit-chain.ts";
import { integer, text, toQuery } from "./sql.ts";
import type { Row } from "./sql.ts";
import { AuditEntry } from "./store.ts";
import type { AuditHead, AuditRow, Batch } from "./store.ts";

const pageRows = 500;

/** This process's own chain, and everybody's rows to read. */
export function openAudit(db: DatabaseSync, writer: string) {
  const insert = toQuery(db, "insert into audit (writer, seq, entry, previous_hash, hash) values (?, ?, ?, ?, ?)");
  const page = toQuery(
    db,
    `select writer, seq, entry, previous_hash, hash from audit where (writer, seq) > (?, ?) order by writer, seq limit ${pageRows}`,
  );
  /** The head that is durable, and the one that the open transaction has reached: a rolled back row is no link. */
  let head: AuditHead | null = null;
  let reached: AuditHead | null = null;

  return {
    begin(): void {
      reached = head;
    },

    /** Rows are chained when they are written, so that the order of the chain is the order of the commits. */
    plan({ audit = [] }: Batch): () => void {
      return () => {
        for (const entry of audit) {
          const row = chainRow(reached, writer, entry);
          insert.run(row.writer, row.seq, entryText(entry), row.previousHash, row.hash);
          reached = row;
        }
      };
    },

    committed(): void {
      head = reached;
    },

    head: (): AuditHead | null => (head === null ? null : { writer: head.writer, seq: head.seq, hash: head.hash }),

    /** Page by page, so that no read transaction stays open while the reader takes its time. Throws `audit.broken`. */
    async *rows(): AsyncGenerator<AuditRow> {
      let after = { writer: "", seq: 0 };
      for (;;) {
        const found = page.all(after.writer, after.seq).map(toAuditRow);
        yield* found;
        const last = found.at(-1);
        if (last === undefined || found.length < pageRows) return;
        after = last;
      }
    },
  };
}

function toAuditRow([writer, seq, entry, previousHash, hash]: Row): AuditRow {
  const place = { writer: text(writer), seq: integer(seq) };
  try {
    const parsed = AuditEntry.parse(JSON.parse(text(entry)));
    return { ...place, entry: parsed, previousHash: text(previousHash), hash: text(hash) };
  } catch (cause) {
    throw new CapstanError(
      "audit.broken",
      `Row ${place.seq} of the audit log's writer ${place.writer} is not what Capstan writes: it was changed or damaged.`,
      { cause, details: place },
    );
  }
}

import { z } from "zod";
import type { Event, EventBody, RunInput } from "../core/event.ts";
import type { Json } from "../core/json.ts";
import type { Amounts, Limits } from "../core/limits.ts";
import { Scope } from "../core/scope.ts";

/** An account of the ledger: a grant or one of its ancestors, with the caps that its signed form names. */
export interface Account {
  readonly grantId: string;
  readonly limits: Limits;
}

/**
 * A reservation on every account at once: all have room, or none is charged and `commit` throws the `budget.*` code of the first
 * counter that lacks it (accounts by id, counters in their order). A counter that is over its cap already has no room even for 0.
 * Keyed by `callId`: charging the same call again changes nothing, whatever accounts and amounts it names. Amounts are whole numbers
 * from 0, else `budget.bad_amount`.
 */
export interface Charge {
  readonly callId: string;
  readonly accounts: readonly Account[];
  readonly amounts: Amounts;
  readonly at: number;
}

/**
 * What a call really used, in place of what was reserved: a counter that is missing was not used, so name `calls` too. Each amount is
 * capped by nothing: what was used is used. After an `unknown` outcome the reservation stays charged, and what is known to be used
 * beyond it. A call settles once; later ones change nothing. `store.not_found` when it was never charged.
 */
export interface Settle {
  readonly callId: string;
  readonly amounts: Amounts;
  readonly outcome: "done" | "error" | "unknown";
}

/** A small value with its version, from 1, again from 1 after a delete. `scope` separates tenants; two kinds never share keys. */
export interface StoredRecord {
  readonly key: string;
  readonly value: Json;
  readonly version: number;
  readonly updatedAt: number;
  /** The SHA-256 of the bytes that belong to it, by which `blob` gives them. */
  readonly blob?: string;
}

/**
 * Puts or deletes one record. `ifVersion` makes it conditional: 0 means "must not exist", n "must be version n"; else
 * `store.conflict` and nothing of the batch is written. Missing `value` deletes.
 */
export interface RecordWrite {
  readonly kind: string;
  readonly key: string;
  readonly value?: Json;
  readonly ifVersion?: number;
  /**
   * Bytes that belong to the record, of any size; missing: none. They are kept once under their SHA-256, and go with the last record that
   * they belong to.
   */
  readonly bytes?: Uint8Array;
}

/** One row of the audit log before it is chained: one per door call, nested ones too, refusals too. */
export const AuditEntry = z
  .strictObject({
    at: z.number(),
    scope: Scope,
    user: z.string(),
    grantId: z.string(),
    ancestors: z.array(z.string()).readonly(),
    runId: z.string().exactOptional(),
    callId: z.string(),
    parentId: z.string().exactOptional(),
    /** What was asked: `tools/call`, `tools/list`, `grant/derive`, … */
    action: z.string(),
    name: z.string(),
    pin: z.string().exactOptional(),
    argsHash: z.string().exactOptional(),
    taint: z.array(z.string()).readonly(),
    decision: z.enum(["allow", "deny", "ask"]),
    /** The code of the refusal; missing when allowed. */
    reason: z.string().exactOptional(),
    approvalId: z.string().exactOptional(),
  })
  .readonly();
export type AuditEntry = z.infer<typeof AuditEntry>;

/** A chained row; `hashRow` in audit-chain.ts says what `hash` covers. `seq` counts from 1 within a writer. */
export interface AuditRow {
  readonly writer: string;
  readonly seq: number;
  readonly entry: AuditEntry;
  readonly previousHash: string;
  readonly hash: string;
}

/** The last row of a writer's chain. */
export interface AuditHead {
  readonly writer: string;
  readonly seq: number;
  readonly hash: string;
}

/** The last event of a log, by its hash. */
export interface EventHead {
  readonly seq: number;
  readonly hash: string;
}

/** A run that is written whole; `eventsAt` has the time of each of its events. */
export type NewRun = Required<Pick<Batch, "runId" | "events" | "eventsAt">>;

/** Everything in a batch happens, or nothing does. */
export interface Batch {
  readonly scope: Scope;
  /**
   * With `events`: the run and the last sequence number its writer has seen (0: none); another writer in between gives
   * `store.conflict`. The run that a first event goes on from must have the event that it names, else `store.not_found`.
   */
  readonly runId?: string;
  readonly afterSeq?: number;
  readonly at?: number;
  readonly events?: readonly EventBody[];
  /**
   * The `events` of the batch that is to stand right before these, where their writer has not waited for its end: `store.conflict` where
   * this store has not written it, so that nothing follows on what another writer has put in its place. Missing: whatever is there.
   */
  readonly behind?: readonly EventBody[];
  /** The time of each of `events`, where it is not `at`. */
  readonly eventsAt?: readonly number[];
  /** The whole logs of new runs, each of which may go on from the end of one before it. */
  readonly newRuns?: readonly NewRun[];
  readonly charges?: readonly Charge[];
  readonly settles?: readonly Settle[];
  readonly records?: readonly RecordWrite[];
  /** With `events`: one more record, made over the last of them before anything is written. */
  readonly seal?: (head: EventHead) => RecordWrite;
  readonly audit?: readonly AuditEntry[];
  /** Inputs for runs, which their drivers take into the log. */
  readonly inbox?: readonly { readonly runId: string; readonly input: RunInput }[];
  /** Ids of inbox items taken into the log by this batch; `store.conflict` when one was taken before. */
  readonly taken?: readonly number[];
  /** `power`: survives a power cut too (synchronous FULL). Default `process`: survives a killed process. */
  readonly durability?: "process" | "power";
}

export interface InboxItem {
  readonly id: number;
  /** null: what came can't be read any more. */
  readonly input: RunInput | null;
}

/** An event as it is stored, chained by `hash` to the one before it: event-chain.ts says what that covers, and what `large` is. */
export interface EventRow {
  readonly seq: number;
  readonly at: number;
  readonly body: string;
  readonly large: string | null;
  readonly hash: string;
}

/** Where a run stands among the others of its scope: by the time of its first event, in ms since the epoch, then by its id. */
export interface RunPlace {
  readonly runId: string;
  readonly startedAt: number;
}

/** A line of `runs ls`, read from the log's first and last events. */
export interface RunSummary extends RunPlace {
  readonly updatedAt: number;
  /** null: it can't be read, and `damage` says so in a sentence. */
  readonly first: Event | null;
  readonly last: Event | null;
  readonly damage?: string;
}

/**
 * The only durable state. One commit is one transaction; there is no transaction callback. Commits of one process that are waiting
 * at the same time share a transaction (group commit), each failing or succeeding on its own. All methods are asynchronous so that
 * a PostgreSQL store fits.
 */
export interface Store extends AsyncDisposable {
  /** Throws `store.conflict`, `budget.*`, `store.not_found`, `store.full`, `store.unavailable`; nothing of the batch is written then. */
  commit(batch: Batch): Promise<void>;
  /** The events of a run from `fromSeq` (inclusive, 1 is the first), in order. An unknown run yields nothing. Throws `run.corrupt`. */
  events(scope: Scope, runId: string, fromSeq?: number): AsyncIterable<Event>;
  /** The same events as they are stored, whatever stands in them; the reader checks the chain. */
  eventRows(scope: Scope, runId: string, fromSeq?: number): AsyncIterable<EventRow>;
  /** The newest first, by the time of their first event, those behind `before` alone where it is given. */
  runs(scope: Scope, limit: number, before?: RunPlace): Promise<readonly RunSummary[]>;
  /** Inputs not yet taken, oldest first. */
  inbox(scope: Scope, runId: string): Promise<readonly InboxItem[]>;
  record(scope: Scope, kind: string, key: string): Promise<StoredRecord | null>;
  /** Sorted by key; `prefix` restricts to keys that start with it, `after` continues behind a key. */
  records(
    scope: Scope,
    kind: string,
    options?: { readonly prefix?: string; readonly after?: string; readonly limit?: number },
  ): Promise<readonly StoredRecord[]>;
  /** Used amounts, reservations included; a grant never charged has used nothing. */
  used(grantIds: readonly string[]): Promise<ReadonlyMap<string, Amounts>>;
  /** Stores bytes under their SHA-256 (hexadecimal), which it returns, for good. Storing again is free. */
  putBlob(bytes: Uint8Array): Promise<string>;
  blob(hash: string): Promise<Uint8Array | null>;
  /** All audit rows, by writer, then seq. Throws `audit.broken` for a row that can't be read; the reader checks the chains. */
  audit(): AsyncIterable<AuditRow>;
  /** The head of this process's own chain; null before its first row. */
  auditHead(): AuditHead | null;
}

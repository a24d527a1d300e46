import type { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import type { ErrorCode } from "../core/error.ts";
import { counterNames } from "../core/limits.ts";
import type { Amounts, CounterName } from "../core/limits.ts";
import { dropOldest } from "./drop-oldest.ts";
import { noWrites } from "./group-commit.ts";
import type { Writes } from "./group-commit.ts";
import { integer, text, toQuery } from "./sql.ts";
import type { Row } from "./sql.ts";
import type { Account, Batch, Settle } from "./store.ts";

/** One amount per counter, in the order of `counterNames`. */
type Counters = readonly number[];

interface Call {
  readonly at: number;
  /** The ids of all accounts that were charged. */
  readonly grants: readonly string[];
  readonly reserved: Counters;
  /** null until the call settles. */
  readonly outcome: Settle["outcome"] | null;
}

const zero: Counters = counterNames.map(() => 0);

const refusals = {
  calls: { code: "budget.calls", unit: "calls" },
  tokens: { code: "budget.tokens", unit: "tokens" },
  costMicroUsd: { code: "budget.cost", unit: "micro-USD" },
  cpuMs: { code: "budget.cpu", unit: "ms of CPU time" },
  wallMs: { code: "budget.wall", unit: "ms of running time" },
  bytes: { code: "budget.bytes", unit: "bytes" },
} as const satisfies Record<CounterName, { readonly code: ErrorCode; readonly unit: string }>;

/**
 * The accounts of grants. A transaction writes each account once, however many commits share it: between `begin` and `finish` the
 * amounts live here. They stay here until `forget`, as long as nobody else writes to the file.
 */
export function openLedger(db: DatabaseSync) {
  const columns = "calls, tokens, cost_micro_usd, cpu_ms, wall_ms, bytes";
  const readAccount = toQuery(db, `select ${columns} from accounts where grant_id = ?`);
  const writeAccount = toQuery(
    db,
    `insert or replace into accounts (grant_id, ${columns}) values (?, ?, ?, ?, ?, ?, ?)`,
  );
  const readCall = toQuery(db, "select at, grants, reserved, outcome from calls where call_id = ?");
  const addCall = toQuery(db, "insert into calls (call_id, at, grants, reserved, outcome) values (?, ?, ?, ?, ?)");
  const endCall = toQuery(db, "update calls set outcome = ? where call_id = ?");
  const stored = (grantId: string): Counters => readAccount.get(grantId)?.map(integer) ?? zero;

  /** Calls that have not settled. */
  const open = new Map<string, Call>();
  /** As the open transaction knows them; those in `changed` are not written yet. */
  const known = new Map<string, Counters>();
  const changed = new Set<string>();
  const inTransaction = (grantId: string): Counters => {
    const counters = known.get(grantId) ?? stored(grantId);
    known.set(grantId, counters);
    return counters;
  };

  return {
    /** What is remembered may not be what the file says. */
    forget(): void {
      known.clear();
      open.clear();
    },

    begin(): void {
      dropOldest(known);
      dropOldest(open);
      changed.clear();
    },

    /** Refuses with `budget.*` before anything is written: then no account of any charge in the batch has changed. */
    plan({ charges = [], settles = [] }: Batch): Writes {
      if (charges.length === 0 && settles.length === 0) return noWrites;
      /** As this batch would leave them. */
      const accounts = new Map<string, Counters>();
      const calls = new Map<string, Call>();
      const used = (grantId: string): Counters => accounts.get(grantId) ?? inTransaction(grantId);
      const added = new Set<string>();
      const find = (callId: string): Call | undefined =>
        calls.get(callId) ?? open.get(callId) ?? toCall(readCall.get(callId));

      for (const charge of charges) {
        if (find(charge.callId) !== undefined) continue;
        const reserved = toCounters(charge.amounts);
        const inOrder = charge.accounts.toSorted((a, b) => (a.grantId < b.grantId ? -1 : 1));
        for (const account of inOrder) demandRoom(account, used(account.grantId), reserved);
        const grants = [...new Set(inOrder.map((account) => account.grantId))];
        for (const grantId of grants) accounts.set(grantId, shift(used(grantId), reserved, zero));
        calls.set(charge.callId, { at: charge.at, grants, reserved, outcome: null });
        added.add(charge.callId);
      }
      for (const settle of settles) {
        const call = find(settle.callId);
        if (call === undefined) throw neverCharged(settle);
        if (call.outcome !== null) continue;
        const actual = actualAmounts(settle, call.reserved);
        for (const grantId of call.grants) accounts.set(grantId, shift(used(grantId), actual, call.reserved));
        calls.set(settle.callId, { ...call, outcome: settle.outcome });
      }
      return () => {
        for (const [grantId, counters] of accounts) {
          known.set(grantId, counters);
          changed.add(grantId);
        }
        for (const [callId, call] of calls) {
          const { at, grants, reserved, outcome } = call;
          if (outcome === null) open.set(callId, call);
          else open.delete(callId);
          if (!added.has(callId)) endCall.run(outcome, callId);
          else addCall.run(callId, at, JSON.stringify(grants), JSON.stringify(toAmounts(reserved)), outcome);
        }
      };
    },

    finish(): void {
      for (const grantId of changed) writeAccount.run(grantId, ...inTransaction(grantId));
    },

    used(grantIds: readonly string[]): ReadonlyMap<string, Amounts> {
      return new Map(grantIds.map((grantId) => [grantId, toAmounts(stored(grantId))]));
    },
  };
}

/** A missing cap is the largest number that can be counted exactly. */
function demandRoom({ grantId, limits }: Account, used: Counters, asked: Counters): void {
  counterNames.forEach((name, index) => {
    const has = used[index] ?? 0;
    const more = asked[index] ?? 0;
    const cap = limits[name] ?? Number.MAX_SAFE_INTEGER;
    if (has + more <= cap) return;
    const { code, unit } = refusals[name];
    // A call counts as it begins; of all else a call holds what it may use until it ends.
    const held = name === "calls" ? "" : " (with what running calls hold)";
    throw new CapstanError(
      code,
      `Grant ${grantId} has used ${has}/${cap} ${unit}${held} and this call needs ${more} more. Use a grant with a higher limit.`,
      { details: { grantId, counter: name, used: has, cap, asked: more } },
    );
  });
}

/** What stays charged: the actual amounts; of an unknown outcome the larger of what was reserved and what is known to be used. */
function actualAmounts({ amounts, outcome }: Settle, reserved: Counters): Counters {
  const actual = toCounters(amounts);
  return outcome === "unknown" ? actual.map((amount, index) => Math.max(amount, reserved[index] ?? 0)) : actual;
}

/** Saturates: an account that can't count on exactly stays full. */
function shift(used: Counters, plus: Counters, minus: Counters): Counters {
  return used.map((has, index) => {
    const sum = has - (minus[index] ?? 0) + (plus[index] ?? 0);
    return Math.min(Math.max(sum, 0), Number.MAX_SAFE_INTEGER);
  });
}

function toCounters(amounts: Amounts): Counters {
  return counterNames.map((name) => {
    const amount = amounts[name] ?? 0;
    if (Number.isSafeInteger(amount) && amount >= 0) return amount;
    throw new CapstanError("budget.bad_amount", `An amount of ${name} must be a whole number from 0, not ${amount}.`);
  });
}

function toAmounts(counters: Counters): Amounts {
  const amounts: Partial<Record<CounterName, number>> = {};
  counterNames.forEach((name, index) => {
    const amount = counters[index] ?? 0;
    if (amount !== 0) amounts[name] = amount;
  });
  return amounts;
}

const StoredCall = z.strictObject({
  at: z.number(),
  grants: z.array(z.string()),
  reserved: z.partialRecord(z.enum(counterNames), z.int().min(0)),
  outcome: z.enum(["done", "error", "unknown"]).nullable(),
});

function toCall(row: Row | undefined): Call | undefined {
  if (row === undefined) return undefined;
  const [at, grants, reserved, outcome] = row;
  try {
    const call = StoredCall.parse({
      at,
      grants: JSON.parse(text(grants)),
      reserved: JSON.parse(text(reserved)),
      outcome,
    });
    return { ...call, reserved: toCounters(call.reserved) };
  } catch (cause) {
    throw new CapstanError("store.corrupt", "A call in the ledger can't be read. Restore the store from a backup.", {
      cause,
    });
  }
}

function neverCharged({ callId }: Settle): CapstanError {
  return new CapstanError(
    "store.not_found",
    `Call ${callId} was never charged, so it can't be settled. Charge it first.`,
    {
      details: { callId },
    },
  );
}

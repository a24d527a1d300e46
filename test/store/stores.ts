import { join } from "node:path";
import type { Clock } from "../../src/core/clock.ts";
import { systemClock } from "../../src/core/clock.ts";
import { CapstanError } from "../../src/core/error.ts";
import type { EventBody } from "../../src/core/event.ts";
import type { Scope } from "../../src/core/scope.ts";
import { chainRow } from "../../src/store/audit-chain.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import type { Account, AuditEntry, AuditHead, Charge, Store } from "../../src/store/store.ts";

/** Every engine. The suites of the port run over all; a place is a folder, the same one gives the same state. */
export const stores = [
  {
    name: "SQLite",
    open: (folder: string, clock: Clock = systemClock): Promise<Store> =>
      openSqliteStore({ path: join(folder, "state.db"), clock }),
  },
] as const;

export const scope: Scope = { org: "acme", project: "one" };
export const otherScope: Scope = { org: "acme", project: "two" };

/** An event that differs by its text. */
export const said = (text: string): EventBody => ({
  type: "input.received",
  input: { type: "message", text, taint: [] },
});

export const account = (grantId: string, calls?: number): Account => ({
  grantId,
  limits: calls === undefined ? {} : { calls },
});

export const oneCall = (callId: string, ...accounts: readonly Account[]): Charge => ({
  callId,
  accounts,
  amounts: { calls: 1 },
  at: 1,
});

export const auditEntry = (callId: string): AuditEntry => ({
  at: 1,
  scope,
  user: "u",
  grantId: "g",
  ancestors: ["root"],
  callId,
  action: "tools/call",
  name: "calculator",
  taint: [],
  decision: "allow",
});

/** The code with which a promise rejects; `done` when it does not. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "done";
  } catch (thrown) {
    if (thrown instanceof CapstanError) return thrown.code;
    throw thrown;
  }
}

/** How many of the promises ended with each code. */
export async function codesOf(promises: readonly Promise<unknown>[]): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const code of await Promise.all(promises.map(codeOf))) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
}

/** The rows of every writer that continue its chain, and the place of each row that does not. */
export async function readChains(store: Store): Promise<{ readonly callIds: string[]; readonly broken: string[] }> {
  const heads = new Map<string, AuditHead>();
  const callIds: string[] = [];
  const broken: string[] = [];
  for await (const row of store.audit()) {
    const right = chainRow(heads.get(row.writer) ?? null, row.writer, row.entry);
    if (right.hash !== row.hash || right.seq !== row.seq) broken.push(`${row.writer} ${row.seq}`);
    heads.set(row.writer, row);
    callIds.push(row.entry.callId);
  }
  return { callIds, broken };
}

/** Everything of an async iterable. */
export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

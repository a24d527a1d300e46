import { z } from "zod";

const count = z.int().min(0).max(Number.MAX_SAFE_INTEGER);

/**
 * The limits of a grant. A missing field sets no limit of its own (the limits of the ancestors still hold); 0 allows nothing.
 * The counters are charged in the ledger, on the grant and on every ancestor; the ceilings bound each call or run.
 */
export const Limits = z.strictObject({
  calls: count.optional(),
  tokens: count.optional(),
  costMicroUsd: count.optional(),
  cpuMs: count.optional(),
  wallMs: count.optional(),
  bytes: count.optional(),
  memoryBytes: count.optional(),
  depth: count.optional(),
  parallel: count.optional(),
  runMs: count.optional(),
});
export type Limits = Readonly<z.infer<typeof Limits>>;

/** The limits that are summed up in the ledger. */
export const counterNames = ["calls", "tokens", "costMicroUsd", "cpuMs", "wallMs", "bytes"] as const;
export type CounterName = (typeof counterNames)[number];

/** The limits that bound a single call or run and are never summed. */
export const ceilingNames = ["memoryBytes", "depth", "parallel", "runMs"] as const;

/** An amount of each counter; missing means 0. */
export type Amounts = Readonly<Partial<Record<CounterName, number>>>;

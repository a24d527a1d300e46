import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import type { Scope } from "../core/scope.ts";
import { mergeTaint, trusted } from "../core/taint.ts";
import type { Taint } from "../core/taint.ts";
import type { Store, StoredRecord } from "../store/store.ts";
import type { Grant } from "./grant.ts";
import type { Taints } from "./permissions.ts";

const kind = "taint";
const maxTries = 10;
/** Made once: to make a schema takes far longer than to read a taint. */
const Labels = z.array(z.string());

/**
 * Taint by grant id, in the grant's own scope. A grant has seen what its ancestors have seen, so that deriving a new one washes
 * nothing; and what came in under the meet of two grants has come in under both. Readings go to the store, since another process may
 * serve the same grant; those of one turn share one, before which each of their calls had come in.
 */
export function openTaints(store: Store): Taints {
  const ofThisTurn = new Map<Grant, Promise<Taint>>();

  return {
    of(grant) {
      const known = ofThisTurn.get(grant);
      if (known !== undefined) return known;
      // That runs when no promise of this turn is left to go on, and before anything else can come in.
      if (ofThisTurn.size === 0) process.nextTick(() => ofThisTurn.clear());
      const reading = read(grant);
      ofThisTurn.set(grant, reading);
      return reading;
    },
    async add({ scope, id, met = [] }, taint) {
      for (const key of [id, ...met]) await addTo(scope, key, taint);
    },
  };

  async function read({ scope, id, ancestors }: Grant): Promise<Taint> {
    const ids = [id, ...ancestors.map((ancestor) => ancestor.id)];
    const records = await Promise.all(ids.map((each) => store.record(scope, kind, each)));
    return mergeTaint(...records.map(toTaint));
  }

  async function addTo(scope: Scope, key: string, taint: Taint): Promise<void> {
    for (let tries = 1; ; tries++) {
      const record = await store.record(scope, kind, key);
      const before = toTaint(record);
      if (taint.every((label) => before.includes(label))) return;
      const value = [...mergeTaint(before, taint)];
      try {
        await store.commit({ scope, records: [{ kind, key, value, ifVersion: record?.version ?? 0 }] });
        return;
      } catch (thrown) {
        const isRace = thrown instanceof CapstanError && thrown.code === "store.conflict";
        if (!isRace || tries === maxTries) throw thrown;
      }
    }
  }
}

function toTaint(record: StoredRecord | null): Taint {
  if (record === null) return trusted;
  const parsed = Labels.safeParse(record.value);
  if (parsed.success) return parsed.data;
  throw new CapstanError("store.corrupt", "A stored taint can't be read. Restore the store from a backup.");
}

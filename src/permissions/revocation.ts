import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import { newId } from "../core/id.ts";
import type { Principal, Scope } from "../core/scope.ts";
import { localPrincipal } from "../core/scope.ts";
import type { AuditEntry, Store } from "../store/store.ts";
import type { Grant } from "./grant.ts";

const revocationKind = "revocation";
const epochKind = "epoch";
/** Its version rises with every change, so that reading one record tells whether to read the lists again. */
const changes = { kind: "permission-state", key: "revocations" } as const;

const staleAfterMs = 60_000;
const pageSize = 1000;

/** What dies with a revocation: a grant, or whatever was made under one. */
type Lineage = Pick<Grant, "id" | "principal" | "epoch"> & {
  readonly ancestors: readonly { readonly id: string }[];
};

/** The revoked grants and the epochs of a home, kept in memory. */
export interface Revocations {
  epoch(principal: Principal): number;
  /** Throws `token.revoked` for a revoked id, a revoked ancestor or an outdated epoch, and `permission.revocations_stale`. */
  demandUnrevoked(lineage: Lineage, now: number): void;
  /** Reads what has changed. Throws `store.*`; what is known stays in force then, until it is 60 s old. */
  refresh(now: number): Promise<void>;
  revoke(grantId: string, reason: string, now: number): Promise<void>;
  revokeAll(principal: Principal, now: number): Promise<void>;
}

/** Opens the list and reads it, so that nothing is ever allowed on an unread one. Throws `store.*`. */
export async function openRevocations(
  { store, scope }: { store: Store; scope: Scope },
  now: number,
): Promise<Revocations> {
  let revoked: ReadonlySet<string> = new Set();
  let epochs: ReadonlyMap<string, number> = new Map();
  let readVersion = -1;
  let readAt = now;

  async function refresh(at: number): Promise<void> {
    // The version is read first: what changes while the lists are read is read again the next time.
    const version = (await store.record(scope, changes.kind, changes.key))?.version ?? 0;
    if (version > readVersion) {
      const ids = await readAll(store, scope, revocationKind);
      const raised = await readAll(store, scope, epochKind);
      // Another refresh may have read more in the meantime.
      if (version > readVersion) {
        revoked = new Set(ids.map(({ key }) => key));
        epochs = new Map(raised.map(({ key, value }) => [key, parseEpoch(value)]));
        readVersion = version;
      }
    }
    readAt = Math.max(readAt, at);
  }

  const epoch = (principal: Principal): number => epochs.get(toKey(principal)) ?? 0;
  await refresh(now);
  return {
    epoch,
    refresh,
    demandUnrevoked(lineage, at) {
      if (at - readAt > staleAfterMs) throw stale();
      if (revoked.size > 0 && (revoked.has(lineage.id) || lineage.ancestors.some(({ id }) => revoked.has(id)))) {
        throw isRevoked("It, or a grant that it comes from, was revoked");
      }
      if (epochs.size > 0 && lineage.epoch < epoch(lineage.principal))
        throw isRevoked("All grants of its owner were revoked");
    },
    async revoke(grantId, reason, at) {
      const record = { kind: revocationKind, key: grantId, value: { reason, at } };
      const audit = [toAudit(scope, grantId, "grant/revoke", grantId, at)];
      await store.commit({ scope, records: [record, { ...changes, value: at }], audit, durability: "power" });
      await refresh(at);
    },
    async revokeAll(principal, at) {
      const key = toKey(principal);
      const stored = await store.record(scope, epochKind, key);
      const record = {
        kind: epochKind,
        key,
        value: parseEpoch(stored?.value ?? 0) + 1,
        ifVersion: stored?.version ?? 0,
      };
      const audit = [toAudit(scope, "all", "grant/revoke-all", key, at)];
      await store.commit({ scope, records: [record, { ...changes, value: key }], audit, durability: "power" });
      await refresh(readAt);
    },
  };
}

async function readAll(store: Store, scope: Scope, kind: string) {
  const all = [];
  for (;;) {
    const last = all.at(-1);
    const page = await store.records(scope, kind, {
      limit: pageSize,
      ...(last === undefined ? {} : { after: last.key }),
    });
    all.push(...page);
    if (page.length < pageSize) return all;
  }
}

/** Revoking is for whoever owns the home. */
function toAudit(scope: Scope, grantId: string, action: string, name: string, at: number): AuditEntry {
  const { user } = localPrincipal;
  const callId = newId("call");
  return { at, scope, user, grantId, ancestors: [], callId, action, name, taint: [], decision: "allow" };
}

function parseEpoch(value: unknown): number {
  const parsed = z.int().min(0).safeParse(value);
  if (parsed.success) return parsed.data;
  throw new CapstanError("store.corrupt", "A stored epoch can't be read. Restore the store from a backup.");
}

const toKey = ({ org, user }: Principal): string => `${org}/${user}`;

function stale(): CapstanError {
  return new CapstanError(
    "permission.revocations_stale",
    `Nothing is allowed: the list of revoked grants could not be read for ${staleAfterMs / 1000} s. Check the store in the home.`,
  );
}

function isRevoked(why: string): CapstanError {
  return new CapstanError("token.revoked", `The grant has ended. ${why}. Ask its issuer for a new one.`);
}

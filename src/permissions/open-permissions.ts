import { hash } from "node:crypto";
import type { Clock } from "../core/clock.ts";
import { CapstanError } from "../core/error.ts";
import { newId } from "../core/id.ts";
import type { Scope } from "../core/scope.ts";
import type { Store } from "../store/store.ts";
import { openApprovals } from "./approvals.ts";
import { openAuditHeads, readAuditHeads } from "./audit-heads.ts";
import { verifyAudit } from "./audit.ts";
import { demandTime } from "./demand.ts";
import type { Grant } from "./grant.ts";
import { openHighWater } from "./high-water.ts";
import { openKeys } from "./keys.ts";
import { openNamedGrants } from "./named-grants.ts";
import { openLargeTokens } from "./large-token.ts";
import type { Permissions } from "./permissions.ts";
import { openRevocations } from "./revocation.ts";
import { openSealed, sealState } from "./seal.ts";
import { openTaints } from "./taints.ts";
import { mintToken, verifyToken } from "./token.ts";

export interface PermissionsOptions {
  /** The folder of keys and signed heads; made (0700) when it is missing. */
  readonly home: string;
  /** Holds everything else. Closed by whoever opened it, after the permissions. */
  readonly store: Store;
  readonly clock: Clock;
  /** Where revocations, epochs, named grants and the mark of time are kept, for all scopes of the home. */
  readonly scope: Scope;
  /** Whoever asked can't approve. Missing: they can. */
  readonly fourEyes?: boolean;
}

const refreshEveryMs = 1000;
const maxVerified = 1024;

/**
 * Opens the permissions of a home: its keys, its time, and what is revoked in it, all read before the first decision. Throws
 * `config.unsafe_home`, `config.malformed`, `store.*`.
 */
export async function openPermissions(options: PermissionsOptions): Promise<Permissions> {
  const { home, store, clock, scope, fourEyes = false } = options;
  const keys = await openKeys(home);
  await using opened = new AsyncDisposableStack();
  const time = opened.use(await openHighWater({ store, scope, clock }));
  const { now } = time;
  const revocations = await openRevocations({ store, scope }, now());
  const heads = opened.use(openAuditHeads({ home, keys, store, clock: now }));
  const large = openLargeTokens({ store, scope, keys });
  const verified = openVerified(async (token) =>
    large.isLarge(token) ? await large.verify(token) : verifyToken(token, keys),
  );
  let refreshedAt = now();
  let refreshing: Promise<void> | null = null;

  function demandLive(grant: Grant): void {
    const at = now();
    demandTime(grant, at);
    revocations.demandUnrevoked(grant, at);
  }

  async function refresh(): Promise<void> {
    if (now() - refreshedAt < refreshEveryMs) return;
    refreshing ??= readAgain().finally(() => (refreshing = null));
    await refreshing;
  }

  /** A store that fails for a moment stops nobody: what is known stays in force until it is stale, and then nothing is allowed. */
  async function readAgain(): Promise<void> {
    await passStoreFailure(revocations.refresh(now()));
    await passStoreFailure(time.sync());
    // A head that could not be written is written the next time; closing is the last time, and tells.
    await heads.sync().catch(() => {});
    refreshedAt = now();
  }

  const owned = opened.move();
  return {
    now,
    epoch: (principal) => revocations.epoch(principal),
    mint: (grant) => mintToken(grant, keys),
    issue: (grant) => large.issue(grant, now()),
    async verify(token) {
      await refresh();
      const grant = await verified(token);
      demandLive(grant);
      return grant;
    },
    demandLive,
    refresh,
    revoke: (grantId, reason) => revocations.revoke(grantId, reason, now()),
    revokeAll: (principal) => revocations.revokeAll(principal, now()),
    named: openNamedGrants({ store, scope, keys, demandLive }),
    verifyAudit: async () => await verifyAudit(store.audit(), await readAuditHeads(home), keys),
    approvals: openApprovals({ store, keys, revocations, demandLive, now, fourEyes }),
    taints: openTaints(store),
    seal: (state, bind) => sealState(keys, state, bind),
    open: (sealed, bind) => openSealed(keys, sealed, bind),
    useUp: (id) => useUp(store, scope, id, now()),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A charge on an account with room for one: of two at once the ledger refuses one. */
async function useUp(store: Store, scope: Scope, id: string, at: number): Promise<boolean> {
  const accounts = [{ grantId: id, limits: { calls: 1 } }];
  try {
    await store.commit({ scope, charges: [{ callId: newId("use"), accounts, amounts: { calls: 1 }, at }] });
    return true;
  } catch (thrown) {
    if (thrown instanceof CapstanError && thrown.code === "budget.calls") return false;
    throw thrown;
  }
}

async function passStoreFailure(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (thrown) {
    if (!(thrown instanceof CapstanError && thrown.code.startsWith("store."))) throw thrown;
  }
}

/**
 * Remembers which tokens were verified, by the hash of the whole token: with a key of less than that, the payload of a good token
 * under another signature would pass. What is remembered is the signature's verdict, never whether the grant is still good.
 */
function openVerified(verify: (token: string) => Promise<Grant>): (token: string) => Promise<Grant> {
  const known = new Map<string, Grant>();
  return async (token) => {
    const key = hash("sha256", token, "base64");
    const found = known.get(key);
    if (found !== undefined) return found;
    const grant = await verify(token);
    const [oldest] = known.keys();
    if (oldest !== undefined && known.size >= maxVerified) known.delete(oldest);
    known.set(key, grant);
    return grant;
  };
}

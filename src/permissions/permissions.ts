import type { Json, JsonObject } from "../core/json.ts";
import type { Principal, Scope } from "../core/scope.ts";
import type { Taint } from "../core/taint.ts";
import type { Charge } from "../store/store.ts";
import type { Grant } from "./grant.ts";

/** The exact call that an approval releases: who, where, which tool as it was defined, and these arguments. */
export interface ApprovableCall {
  readonly principal: Principal;
  readonly scope: Scope;
  readonly runId?: string;
  readonly callId: string;
  readonly name: string;
  readonly pin: string;
  readonly args: JsonObject;
  /** SHA-256 (hexadecimal) of the bytes that the arguments refer to, by the name they refer with. Missing: they refer to none. */
  readonly contents?: Readonly<Record<string, string>>;
}

/** Approvals: sealed by this home, bound to one call, ten minutes at most, one use. */
export interface Approvals {
  /** The SHA-256 that binds an approval to a call. */
  hash(call: ApprovableCall): string;
  /**
   * Approves a call. The approver needs the `approve` right for the tool (`permission.no_right`), in the call's scope
   * (`token.other_scope`) and, where its grant is bound to a run, for that run (`token.other_run`); where `fourEyes` is set, the
   * asker can't approve (`permission.approval_refused`). The approval dies with the approver's grant. Returns its id.
   */
  approve(approver: Grant, call: ApprovableCall): Promise<string>;
  /** Records that a person says no to a call. Throws as `approve` does, but for four eyes: whoever asked may withdraw. */
  refuse(approver: Grant, call: ApprovableCall): Promise<void>;
  /**
   * The charge that uses the approval up, to be committed together with the call's own; a second use fails in the ledger. Throws
   * `permission.approval_refused` when it is unknown, forged, expired, used, or for another call, `token.revoked` when the approver's
   * grant was revoked.
   */
  redeem(approvalId: string, call: ApprovableCall): Promise<Charge>;
}

/** What an MCP client has seen, per grant id, since its context is not ours to see. Persisted. */
export interface Taints {
  of(grant: Grant): Promise<Taint>;
  add(grant: Grant, taint: Taint): Promise<void>;
}

export interface NamedGrant {
  readonly name: string;
  readonly grant: Grant;
}

/** What a walk over the audit log found. `problem` names the first bad row or head; missing when `ok`. */
export interface AuditVerdict {
  readonly ok: boolean;
  readonly rows: number;
  readonly heads: number;
  readonly problem?: string;
}

/** Everything that needs the home's key or its store. The pure rules are `demand`, `derive` and `meet` in files of their own. */
export interface Permissions extends AsyncDisposable {
  /** The time, never earlier than it ever was in this home: a clock set back revives nothing. */
  now(): number;
  /** The present epoch of a principal, which a new grant carries; as fresh as the last `refresh`. */
  epoch(principal: Principal): number;
  /** Signs a grant as a flat token. Throws `usage.bad_option` for one that makes more than 16 kB. */
  mint(grant: Grant): string;
  /** Signs a grant of any size: where a flat token would be long, the rights are kept in the home, and the token names them by hash. */
  issue(grant: Grant): Promise<string>;
  /** The grant of a token. Throws `token.*`. Verified tokens are cached by the hash of the whole token; liveness is checked each time. */
  verify(token: string): Promise<Grant>;
  /**
   * Throws `token.expired`, `token.not_yet_valid` or `token.revoked` (also for an ancestor or an outdated epoch), or
   * `permission.revocations_stale` when the list could not be read for 60 s. Synchronous, on memory.
   */
  demandLive(grant: Grant): void;
  /** Reads revocations and epochs again where they are older than a second. Cheap to call before each call. */
  refresh(): Promise<void>;
  /** Revokes a grant and with it all that was derived from it; on record, as `revokeAll` is. */
  revoke(grantId: string, reason: string): Promise<void>;
  /** Revokes every grant of a principal by raising its epoch. */
  revokeAll(principal: Principal): Promise<void>;
  readonly named: {
    /** Throws `store.conflict` when the name is taken. */
    save(name: string, grant: Grant): Promise<void>;
    /** Throws `token.unknown_name`, which lists the names there are. */
    get(name: string): Promise<Grant>;
    list(): Promise<readonly NamedGrant[]>;
  };
  /** Checks every chain of the audit log, and every signed head against it. */
  verifyAudit(): Promise<AuditVerdict>;
  readonly approvals: Approvals;
  readonly taints: Taints;
  /** Seals and opens small state that clients hold (AEAD); `open` throws `token.bad_signature`. `bind` is authenticated, not stored. */
  seal(state: Json, bind: string): string;
  open(sealed: string, bind: string): Json;
  /** Uses up what is good once, by a random id: true the first time in this home, in whatever process; false from then on. */
  useUp(id: string): Promise<boolean>;
}

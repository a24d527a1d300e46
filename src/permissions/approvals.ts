import { z } from "zod";
import { CapstanError, toCapstanError } from "../core/error.ts";
import { newId } from "../core/id.ts";
import { canonicalJson, sha256 } from "../core/json.ts";
import { Principal } from "../core/scope.ts";
import type { AuditEntry, Store } from "../store/store.ts";
import { demand } from "./demand.ts";
import type { Grant } from "./grant.ts";
import type { Keys } from "./keys.ts";
import type { ApprovableCall, Approvals } from "./permissions.ts";
import type { Revocations } from "./revocation.ts";

const kind = "approval";
const purpose = "approval";
const lifetimeMs = 10 * 60_000;

/** What was approved, by whom, and what it dies with. `callHash` binds everything about the call, its run and scope too. */
const Approval = z.strictObject({
  id: z.string(),
  callHash: z.string(),
  approver: z.strictObject({
    id: z.string(),
    ancestors: z.array(z.strictObject({ id: z.string() })),
    principal: Principal,
    epoch: z.int(),
  }),
  at: z.int(),
  expiresAt: z.int(),
});
type Approval = z.infer<typeof Approval>;

/** `tag` is the home's MAC over the approval: one that stands in an imported log or a changed store counts for nothing. */
const Sealed = z.strictObject({ approval: Approval, tag: z.string() });

interface Parts {
  readonly store: Store;
  readonly keys: Keys;
  readonly revocations: Revocations;
  readonly demandLive: (grant: Grant) => void;
  readonly now: () => number;
  readonly fourEyes: boolean;
}

/** The approvals of a home, kept in the scope of the calls that they release. */
export function openApprovals({ store, keys, revocations, demandLive, now, fourEyes }: Parts): Approvals {
  return {
    hash: toCallHash,

    async approve(approver, call) {
      await onRecord("approval/give", approver, call, () => {
        if (fourEyes && isSame(approver.principal, call.principal)) {
          throw refused("whoever asked can't approve (four eyes). Another person must");
        }
      });
      const at = now();
      const approval: Approval = {
        id: newId("approval"),
        callHash: toCallHash(call),
        approver: {
          id: approver.id,
          ancestors: approver.ancestors.map(({ id }) => ({ id })),
          principal: approver.principal,
          epoch: approver.epoch,
        },
        at,
        expiresAt: Math.min(at + lifetimeMs, approver.expiresAt),
      };
      const value = { approval, tag: keys.mac(purpose, canonicalJson(approval)) };
      await store.commit({
        scope: call.scope,
        records: [{ kind, key: approval.id, value, ifVersion: 0 }],
        audit: [{ ...toAudit("approval/give", approver, call, at), approvalId: approval.id }],
        durability: "power",
      });
      return approval.id;
    },

    async refuse(approver, call) {
      await onRecord("approval/refuse", approver, call);
      await store.commit({ scope: call.scope, audit: [toAudit("approval/refuse", approver, call, now())] });
    },

    async redeem(approvalId, call) {
      const record = await store.record(call.scope, kind, approvalId);
      const sealed = Sealed.safeParse(record?.value);
      if (!sealed.success) throw refused("there is no such approval");
      const { approval, tag } = sealed.data;
      if (approval.id !== approvalId || !keys.isMac(purpose, canonicalJson(approval), tag)) {
        throw refused("this home did not give it");
      }
      if (approval.callHash !== toCallHash(call)) throw refused("it was given for another call or other content");
      const at = now();
      if (at >= approval.expiresAt) throw refused("it has expired");
      revocations.demandUnrevoked(approval.approver, at);
      const used = (await store.used([approvalId])).get(approvalId);
      if ((used?.calls ?? 0) > 0) throw refused("it was used before");
      // Each redemption is a charge of its own on an account with room for one, so that of two at once the ledger refuses one.
      const accounts = [{ grantId: approvalId, limits: { calls: 1 } }];
      return { callId: newId("use"), accounts, amounts: { calls: 1 }, at };
    },
  };

  /** Throws where the approver may not decide about the call, which is recorded too. */
  async function onRecord(
    action: Decision,
    approver: Grant,
    call: ApprovableCall,
    demandMore: () => void = () => {},
  ): Promise<void> {
    try {
      demandLive(approver);
      demand(approver, [{ type: "approve", tool: call.name }], now());
      demandPlace(approver, call);
      demandMore();
    } catch (thrown) {
      const { code: reason } = toCapstanError(thrown);
      const row: AuditEntry = { ...toAudit(action, approver, call, now()), decision: "deny", reason };
      await store.commit({ scope: call.scope, audit: [row] });
      throw thrown;
    }
  }
}

type Decision = "approval/give" | "approval/refuse";

function toCallHash({ principal, scope, runId, callId, name, pin, args, contents = {} }: ApprovableCall): string {
  return sha256(canonicalJson({ principal, scope, runId, callId, name, pin, args, contents }));
}

function demandPlace(approver: Grant, call: ApprovableCall): void {
  if (approver.scope.org !== call.scope.org || approver.scope.project !== call.scope.project) {
    throw new CapstanError("token.other_scope", "There is nothing here for this grant.");
  }
  if (approver.run !== undefined && approver.run !== call.runId) {
    throw new CapstanError(
      "token.other_run",
      "The approver's grant was made for another run. Approve with a grant that covers it.",
    );
  }
}

function toAudit(action: Decision, approver: Grant, call: ApprovableCall, at: number): AuditEntry {
  return {
    at,
    scope: call.scope,
    user: approver.principal.user,
    grantId: approver.id,
    ancestors: approver.ancestors.map((ancestor) => ancestor.id),
    ...(call.runId === undefined ? {} : { runId: call.runId }),
    callId: call.callId,
    action,
    name: call.name,
    pin: call.pin,
    argsHash: sha256(canonicalJson(call.args)),
    taint: [],
    decision: "allow",
  };
}

function refused(why: string): CapstanError {
  return new CapstanError(
    "permission.approval_refused",
    `The approval does not count: ${why}. Ask for an approval of this very call.`,
  );
}

const isSame = (a: Principal, b: Principal): boolean => a.org === b.org && a.user === b.user;

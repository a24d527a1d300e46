import { describe, expect, test } from "vitest";
import { sha256 } from "../../src/core/json.ts";
import { derive } from "../../src/permissions/derive.ts";
import type { Grant } from "../../src/permissions/grant.ts";
import { toCharge } from "../../src/permissions/ledger.ts";
import type { ApprovableCall } from "../../src/permissions/permissions.ts";
import { codeOfAsync, minute, openTestHome, principal, sameAs, scope, start, t0, t1 } from "./grants.ts";

const call: ApprovableCall = {
  principal,
  scope,
  runId: "run1",
  callId: "call1",
  name: "mail/send",
  pin: "p1",
  args: { to: "a@corp.test", text: "hello" },
};
const approver: Grant = { ...t0, id: "approver", principal: { org: "org1", user: "bob" } };

/** Approves one call and executes another as the door does: the call's own charge and the approval's in one commit. */
async function execute(
  home: Awaited<ReturnType<typeof openTestHome>>,
  approvalId: string,
  executed: ApprovableCall,
): Promise<string> {
  return await codeOfAsync(async () => {
    const used = await home.permissions.approvals.redeem(approvalId, executed);
    await home.store.commit({ scope, charges: [toCharge(t1, executed.callId, {}, home.permissions.now()), used] });
  });
}

describe("an approval", () => {
  test("6: releases the call that it was given for, once (44, B54)", async () => {
    await using home = await openTestHome({ clock: () => start });
    const approvalId = await home.permissions.approvals.approve(approver, call);
    expect(await execute(home, approvalId, call)).toBe("allow");
    expect(await execute(home, approvalId, call)).toBe("permission.approval_refused");
    expect(await execute(home, "approval_unknown", call)).toBe("permission.approval_refused");
  });

  test.each<[string, Partial<ApprovableCall>]>([
    ["45: other arguments", { args: { to: "eve@evil.test", text: "hello" } }],
    ["B39: more arguments", { args: { ...call.args, bcc: "eve@evil.test" } }],
    ["another call", { callId: "call2" }],
    ["another run", { runId: "run2" }],
    ["another tool", { name: "mail/delete" }],
    ["the tool as somebody redefined it", { pin: "p2" }],
    ["another user", { principal: { org: "org1", user: "eve" } }],
    ["another project", { scope: { org: "org1", project: "q" } }],
    ["B55: other content", { contents: { "report.pdf": sha256("poisoned") } }],
    ["B55: no content", {}],
  ])("B39: does not count for %s", async (_, change) => {
    await using home = await openTestHome({ clock: () => start });
    const approved = { ...call, contents: { "report.pdf": sha256("as it was shown") } };
    const approvalId = await home.permissions.approvals.approve(approver, approved);
    const { contents: __, ...bare } = approved;
    const executed = Object.keys(change).length === 0 ? bare : { ...approved, ...change };
    expect(await execute(home, approvalId, executed)).toBe("permission.approval_refused");
    expect(await execute(home, approvalId, approved)).toBe("allow");
  });

  test("counts whatever the order of the arguments' keys", async () => {
    await using home = await openTestHome({ clock: () => start });
    const approvalId = await home.permissions.approvals.approve(approver, call);
    expect(await execute(home, approvalId, { ...call, args: { text: "hello", to: "a@corp.test" } })).toBe("allow");
  });

  test("B54: is used up by one of many that come at the same time", async () => {
    await using home = await openTestHome({ clock: () => start });
    const { approvals } = home.permissions;
    const approvalId = await approvals.approve(approver, call);
    const charges = await Promise.all(Array.from({ length: 20 }, () => approvals.redeem(approvalId, call)));
    const codes = await Promise.all(
      charges.map((charge) => codeOfAsync(() => home.store.commit({ scope, charges: [charge] }))),
    );
    expect(codes.filter((code) => code === "allow")).toHaveLength(1);
    expect(codes.filter((code) => code === "budget.calls")).toHaveLength(19);
  });

  test("B40: does not come from whoever asked, where four eyes are demanded", async () => {
    await using strict = await openTestHome({ clock: () => start, fourEyes: true });
    const { approvals } = strict.permissions;
    const self = { ...approver, principal };
    expect(await codeOfAsync(() => approvals.approve(self, call))).toBe("permission.approval_refused");
    expect(await codeOfAsync(() => approvals.approve(approver, call))).toBe("allow");
    await using lax = await openTestHome({ clock: () => start });
    expect(await codeOfAsync(() => lax.permissions.approvals.approve(self, call))).toBe("allow");
  });

  test("needs the right to approve this tool, in the call's scope and run, from a grant that is alive", async () => {
    await using home = await openTestHome({ clock: () => start });
    const by = (over: Partial<Grant>): Promise<string> =>
      codeOfAsync(() => home.permissions.approvals.approve({ ...approver, ...over }, call));
    expect(await by({})).toBe("allow");
    expect(await by({ rights: { ...approver.rights, approve: [] } })).toBe("permission.no_right");
    expect(await by({ rights: { ...approver.rights, approve: ["mail", "*", "mail/*"] } })).toBe("permission.no_right");
    expect(await by({ scope: { org: "org2", project: "p" } })).toBe("token.other_scope");
    expect(await by({ run: "run2" })).toBe("token.other_run");
    expect(await by({ run: "run1" })).toBe("allow");
    expect(await by({ expiresAt: start })).toBe("token.expired");
    await home.permissions.revoke(approver.id, "left");
    expect(await by({})).toBe("token.revoked");
  });

  test("lives ten minutes, no longer than the approver's grant, and dies with it", async () => {
    let now = start;
    await using home = await openTestHome({ clock: () => now });
    const { approvals } = home.permissions;
    const longer = { ...approver, expiresAt: start + 60 * minute };
    const [first, second, third] = [
      await approvals.approve(longer, call),
      await approvals.approve({ ...approver, expiresAt: start + 3 * minute }, call),
      await approvals.approve(derive(longer, sameAs(longer), { id: "child", now }), call),
    ];
    now = start + 3 * minute;
    expect(await execute(home, second, call)).toBe("permission.approval_refused");
    await home.permissions.revoke(longer.id, "left");
    expect(await execute(home, third, call)).toBe("token.revoked");

    await using other = await openTestHome({ clock: () => now });
    now = start;
    const late = await other.permissions.approvals.approve(longer, { ...call, callId: "late" });
    now = start + 3 * minute + 10 * minute;
    expect(await execute(other, late, { ...call, callId: "late" })).toBe("permission.approval_refused");
    expect(first).not.toBe(late);
  });

  test("B50: counts only when this home gave it: one that was written into the store does not", async () => {
    await using home = await openTestHome({ clock: () => start });
    await using elsewhere = await openTestHome({ clock: () => start });
    const foreignId = await elsewhere.permissions.approvals.approve(approver, call);
    const foreign = await elsewhere.store.record(scope, "approval", foreignId);
    const ownId = await home.permissions.approvals.approve(approver, { ...call, callId: "other" });
    const own = await home.store.record(scope, "approval", ownId);
    const text = JSON.stringify(own?.value);
    const forged: [string, unknown][] = [
      [foreignId, foreign?.value],
      ["approval_renamed", own?.value],
      [ownId, JSON.parse(text.replace(/"callHash":"\w+"/, `"callHash":"${home.permissions.approvals.hash(call)}"`))],
      [ownId, JSON.parse(text.replace(/"tag":"[\w-]+"/, '"tag":""'))],
      [ownId, { approved: true }],
    ];
    for (const [key, value] of forged) {
      await home.store.commit({
        scope,
        records: [{ kind: "approval", key, value: JSON.parse(JSON.stringify(value)) }],
      });
      expect(await execute(home, key, call)).toBe("permission.approval_refused");
    }
    const real = await home.permissions.approvals.approve(approver, call);
    const copy = JSON.parse(JSON.stringify((await home.store.record(scope, "approval", real))?.value));
    await home.store.commit({ scope, records: [{ kind: "approval", key: "approval_copy", value: copy }] });
    expect(await execute(home, real, call)).toBe("allow");
    expect(await execute(home, "approval_copy", call)).toBe("permission.approval_refused");
  });

  test("is on record in the audit log, with who gave it", async () => {
    await using home = await openTestHome({ clock: () => start });
    const approvalId = await home.permissions.approvals.approve(approver, call);
    const rows = [];
    for await (const { entry } of home.store.audit()) rows.push(entry);
    expect(rows).toMatchObject([
      { action: "approval/give", user: "bob", grantId: "approver", callId: "call1", approvalId },
    ]);
  });

  test("that is not given is on record too: refused by a person, or tried without the right", async () => {
    await using home = await openTestHome({ clock: () => start });
    const { approvals } = home.permissions;
    const powerless = { ...approver, rights: { ...approver.rights, approve: [] } };
    const ofOtherRun = { ...approver, run: "run2" };
    expect(await codeOfAsync(() => approvals.approve(powerless, call))).toBe("permission.no_right");
    expect(await codeOfAsync(() => approvals.approve(ofOtherRun, call))).toBe("token.other_run");
    expect(await codeOfAsync(() => approvals.refuse(powerless, call))).toBe("permission.no_right");
    expect(await codeOfAsync(() => approvals.refuse(ofOtherRun, call))).toBe("token.other_run");
    expect(await codeOfAsync(() => approvals.refuse(approver, call))).toBe("allow");
    const rows = (await Array.fromAsync(home.store.audit())).map(({ entry }) => entry);
    expect(rows.map(({ action, decision, reason = "" }) => `${action} ${decision} ${reason}`)).toEqual([
      "approval/give deny permission.no_right",
      "approval/give deny token.other_run",
      "approval/refuse deny permission.no_right",
      "approval/refuse deny token.other_run",
      "approval/refuse allow ",
    ]);
  });
});

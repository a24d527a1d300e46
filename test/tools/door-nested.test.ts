import { describe, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import type { CallContext } from "../../src/tools/tool.ts";
import { openTestDoor, testTool, valueOf } from "../support/door.ts";

const refused = (code: string): object => expect.objectContaining({ name: "CapstanError", code });
const sending = { readOnly: false, destructive: false, idempotent: false, openWorld: true };

/** A tool that calls another one, as code in a sandbox does. */
const caller = (name: string, target: string) =>
  testTool(name, {
    run: async (_, { call }) => {
      const outcome = await call(target, {}).catch((error: unknown) => error);
      return { type: "done", value: outcome instanceof CapstanError ? outcome.code : JSON.stringify(outcome) };
    },
  });

describe("nested calls", () => {
  test("come back to the door: charged on the caller's grant, audited with their parent", async () => {
    await using capstan = await openTestDoor([caller("outer", "inner"), testTool("inner")]);
    const by = { grant: { ...capstan.grant, limits: { calls: 3 } } };
    await capstan.call("outer", {}, { callId: "call_outer", by });
    const [outer, inner] = (await capstan.audit()).map(({ entry }) => entry);
    expect(outer).toMatchObject({ name: "outer", callId: "call_outer" });
    expect(inner).toMatchObject({ name: "inner", parentId: "call_outer", ancestors: [capstan.grant.id] });
    expect((await capstan.store.used([capstan.grant.id])).get(capstan.grant.id)).toEqual({ calls: 2 });
    expect(valueOf((await capstan.call("outer", {}, { by })).outcome)).toBe("budget.calls");
  });

  test("can't reach what the caller's grant does not hold, and can reach what it holds", async () => {
    await using capstan = await openTestDoor([caller("outer", "inner"), testTool("inner")]);
    const tools = capstan.grant.rights.tools.filter(({ name }) => name === "outer");
    const narrow = { ...capstan.grant, rights: { ...capstan.grant.rights, tools } };
    expect(valueOf((await capstan.call("outer", {}, { by: { grant: narrow } })).outcome)).toBe("tool.unknown");
    expect(valueOf((await capstan.call("outer")).outcome)).toContain("done");
  });

  test("nest to a bounded depth", async () => {
    await using capstan = await openTestDoor([caller("again", "again")]);
    const text = String(valueOf((await capstan.call("again")).outcome));
    expect(text).toContain("budget.depth");
    expect((await capstan.audit()).length).toBeLessThan(10);
    const by = { grant: { ...capstan.grant, limits: { depth: 0 } } };
    expect(valueOf((await capstan.call("again", {}, { by })).outcome)).toBe("budget.depth");
  });

  test("are refused where the grant may not be handed on", async () => {
    await using capstan = await openTestDoor([caller("outer", "inner"), testTool("inner")]);
    const by = { grant: { ...capstan.grant, delegations: 0 } };
    expect(valueOf((await capstan.call("outer", {}, { by })).outcome)).toBe("permission.no_right");
  });

  test("die with the call around them: a handle that was kept opens nothing (B15)", async () => {
    let kept: CallContext["call"] | undefined;
    const keeper = testTool("keeper", {
      run: async (_, { call }) => {
        kept = call;
        return { type: "done", value: JSON.stringify(await call("inner", {})) };
      },
    });
    await using capstan = await openTestDoor([keeper, testTool("inner")]);
    expect(valueOf((await capstan.call("keeper")).outcome)).toContain("done");
    await expect(kept?.("inner", {})).rejects.toThrow(refused("tool.cancelled"));
  });

  test("carry untrusted content outwards, and a sink after it asks", async () => {
    const reader = testTool("reader", { run: async () => ({ type: "done", value: "x", taint: ["files"] }) });
    const send = testTool("send", { hints: sending, effect: "once" });
    const outer = testTool("outer", {
      run: async (_, { call }) => {
        await call("reader", {});
        const sent = await call("send", {}).catch((error: unknown) => error);
        return { type: "done", value: sent instanceof CapstanError ? sent.code : "sent" };
      },
    });
    await using capstan = await openTestDoor([reader, send, outer]);
    const { outcome, taint } = await capstan.call("outer");
    expect(valueOf(outcome)).toBe("permission.approval_needed");
    expect(taint).toEqual(["files"]);
  });
});

describe("approvals", () => {
  const call = { callId: "call_1", name: "send", pin: "builtin", args: { text: "hello" } };

  test("a sink runs freely before untrusted content, and asks after it", async () => {
    await using capstan = await openTestDoor([testTool("send", { hints: sending, effect: "once" }), testTool("echo")]);
    await expect(capstan.call("send")).resolves.toBeDefined();
    const by = { taint: ["files"] };
    await expect(capstan.call("send", {}, { by })).rejects.toThrow(refused("permission.approval_needed"));
    await expect(capstan.call("echo", {}, { by })).resolves.toBeDefined();
    expect((await capstan.audit()).map(({ entry }) => entry.decision)).toEqual(["allow", "ask", "allow"]);
  });

  test("release exactly the call that was approved, once (44, 45, B39)", async () => {
    await using capstan = await openTestDoor([testTool("send", { hints: sending, effect: "once" })]);
    const { permissions, grant } = capstan;
    const exact = { ...call, principal: grant.principal, scope: grant.scope };
    const by = { taint: ["files"] };
    const approvalId = await permissions.approvals.approve(grant, exact);
    const tried = { by, approvalId };
    await expect(capstan.call("send", { text: "other" }, { ...tried, callId: "call_1" })).rejects.toThrow(
      refused("permission.approval_refused"),
    );
    await expect(capstan.call("send", { text: "hello" }, { ...tried, callId: "call_2" })).rejects.toThrow(
      refused("permission.approval_refused"),
    );
    await expect(capstan.call("send", { text: "hello" }, { ...tried, callId: "call_1" })).resolves.toBeDefined();
    await expect(capstan.call("send", { text: "hello" }, { by, callId: "call_1" })).rejects.toThrow(
      refused("permission.approval_needed"),
    );
  });
});

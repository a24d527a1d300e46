import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { describe, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import { derive } from "../../src/permissions/derive.ts";
import { fromZod } from "../../src/tools/schema.ts";
import { defineTool } from "../../src/tools/tool.ts";
import { toToolbox } from "../../src/tools/toolbox.ts";
import { openTestDoor, sameAs, testTool, valueOf } from "../support/door.ts";

const refused = (code: string): object => expect.objectContaining({ name: "CapstanError", code });

describe("the door", () => {
  test("calls a granted tool, charges it once and writes one audit row before it runs", async () => {
    const seen: number[] = [];
    const tool = testTool("echo", {
      run: async ({ text }) => {
        seen.push((await capstan.audit()).length);
        return { type: "done", value: { text } };
      },
    });
    await using capstan = await openTestDoor([tool]);
    const { outcome, taint } = await capstan.call("echo", { text: "hi" });
    expect(valueOf(outcome)).toEqual({ text: "hi" });
    expect(taint).toEqual([]);
    expect(seen).toEqual([1]);
    const [row, ...more] = await capstan.audit();
    expect(more).toEqual([]);
    expect(row?.entry).toMatchObject({
      action: "tools/call",
      name: "echo",
      decision: "allow",
      grantId: capstan.grant.id,
    });
    expect((await capstan.store.used([capstan.grant.id])).get(capstan.grant.id)).toEqual({ calls: 1 });
  });

  test("answers the same for a tool that is not granted and for one that does not exist, and lists neither (B16)", async () => {
    const [shown, hidden] = [testTool("shown"), testTool("hidden")];
    await using capstan = await openTestDoor([shown, hidden]);
    const grant = {
      ...capstan.grant,
      rights: { ...capstan.grant.rights, tools: capstan.grant.rights.tools.slice(0, 1) },
    };
    const answer = async (name: string): Promise<string> =>
      await capstan.call(name, {}, { by: { grant } }).then(
        () => "called",
        (error: unknown) =>
          error instanceof CapstanError ? `${error.code} ${error.message.replaceAll(name, "X")}` : "?",
      );
    expect(capstan.door.list(grant).map(({ name }) => name)).toEqual(["shown"]);
    expect(await answer("shown")).toBe("called");
    expect(await answer("hidden")).toMatch(/^tool\.unknown /);
    expect(await answer("hidden")).toBe(await answer("nowhere"));
    for (const name of ["__proto__", "constructor", "toString", "SHOWN", "shown "]) {
      expect(await answer(name), name).toMatch(/^tool\.unknown /);
    }
  });

  test("runs what it checked: arguments are parsed strictly, defaults filled, and frozen (B19)", async () => {
    let got: unknown;
    const tool = testTool("keep", {
      run: async (args) => {
        got = args;
        return { type: "done" };
      },
    });
    await using capstan = await openTestDoor([tool]);
    const args = { text: "a" };
    await capstan.call("keep", args);
    args.text = "b";
    expect(got).toEqual({ text: "a" });
    expect(Object.isFrozen(got)).toBe(true);
    await capstan.call("keep", {});
    expect(got).toEqual({ text: "" });
    for (const bad of [{ text: 5 }, { text: "a", more: 1 }, [], null, "x", { text: "a".repeat(1001) }]) {
      await expect(capstan.call("keep", bad), JSON.stringify(bad).slice(0, 40)).rejects.toThrow(
        refused("tool.bad_arguments"),
      );
    }
  });

  test("audits refusals with their reason, and charges nothing for them", async () => {
    await using capstan = await openTestDoor([testTool("echo")]);
    await expect(capstan.call("nothing")).rejects.toThrow(refused("tool.unknown"));
    await expect(capstan.call("echo", { text: 1 })).rejects.toThrow(refused("tool.bad_arguments"));
    const rows = await capstan.audit();
    expect(rows.map(({ entry }) => [entry.name, entry.decision, entry.reason])).toEqual([
      ["nothing", "deny", "tool.unknown"],
      ["echo", "deny", "tool.bad_arguments"],
    ]);
    expect((await capstan.store.used([capstan.grant.id])).get(capstan.grant.id) ?? {}).toEqual({});
  });

  test("refuses a grant of another scope, another principal or another run, and lets the right one in (74, 75)", async () => {
    await using capstan = await openTestDoor([testTool("echo")]);
    const bound = derive(
      capstan.grant,
      { ...sameAs(capstan.grant), run: "run_1" },
      { id: "g1", now: capstan.permissions.now() },
    );
    const by = { grant: bound };
    await expect(capstan.call("echo", {}, { by })).rejects.toThrow(refused("token.other_run"));
    await expect(capstan.call("echo", {}, { by: { ...by, runId: "run_2" } })).rejects.toThrow(
      refused("token.other_run"),
    );
    await expect(capstan.call("echo", {}, { by: { ...by, runId: "run_1" } })).resolves.toBeDefined();
    const scope = { org: "org2", project: "default" };
    await expect(capstan.call("echo", {}, { by: { scope } })).rejects.toThrow(refused("token.other_scope"));
    const principal = { org: "local", user: "somebody" };
    await expect(capstan.call("echo", {}, { by: { principal } })).rejects.toThrow(refused("token.other_scope"));
  });

  test("refuses a revoked grant and what was derived from it (72)", async () => {
    await using capstan = await openTestDoor([testTool("echo")]);
    const child = derive(capstan.grant, sameAs(capstan.grant), { id: "child", now: capstan.permissions.now() });
    await expect(capstan.call("echo", {}, { by: { grant: child } })).resolves.toBeDefined();
    await capstan.permissions.revoke(capstan.grant.id, "test");
    await expect(capstan.call("echo", {}, { by: { grant: child } })).rejects.toThrow(refused("token.revoked"));
    await expect(capstan.call("echo")).rejects.toThrow(refused("token.revoked"));
  });

  test("lets exactly as many parallel calls through as the grant has left (B36)", async () => {
    await using capstan = await openTestDoor([testTool("echo")]);
    const parent = { ...capstan.grant, limits: { calls: 20 } };
    const child = derive(parent, sameAs(parent), { id: "child", now: capstan.permissions.now() });
    const calls = Array.from({ length: 100 }, (_, index) =>
      capstan.call("echo", {}, { by: { grant: index % 2 === 0 ? parent : child } }),
    );
    const ends = await Promise.allSettled(calls);
    expect(ends.filter(({ status }) => status === "fulfilled")).toHaveLength(20);
    const reasons = ends.flatMap((end) => (end.status === "rejected" ? [end.reason] : []));
    expect(reasons).toHaveLength(80);
    for (const reason of reasons) expect(reason).toMatchObject({ code: "budget.calls" });
    expect((await capstan.store.used([parent.id])).get(parent.id)).toEqual({ calls: 20 });
  });

  test("holds the limit on parallel calls, and gives places back", async () => {
    const gate = Promise.withResolvers<void>();
    const slow = testTool("slow", {
      run: async () => {
        await gate.promise;
        return { type: "done" };
      },
    });
    await using capstan = await openTestDoor([slow]);
    const by = { grant: { ...capstan.grant, limits: { parallel: 2 } } };
    const running = [capstan.call("slow", {}, { by }), capstan.call("slow", {}, { by })];
    await sleep(50);
    await expect(capstan.call("slow", {}, { by })).rejects.toThrow(refused("budget.parallel"));
    gate.resolve();
    await Promise.all(running);
    await expect(capstan.call("slow", {}, { by })).resolves.toBeDefined();
  });

  test("lets calls run until the granted time is used up, those nested in one as a part of it", async () => {
    const work = testTool("work", {
      run: async () => {
        await sleep(30);
        return { type: "done" };
      },
    });
    const outer = testTool("outer", { run: async (_, { call }) => await call("work", {}) });
    await using capstan = await openTestDoor([work, outer]);
    // Less than the 30 s that each call may take by itself.
    const grant = { ...capstan.grant, limits: { wallMs: 1_000 } };
    for (let calls = 0; calls < 3; calls += 1) await capstan.call("work", {}, { by: { grant } });
    expect((await capstan.call("outer", {}, { by: { grant } })).outcome).not.toHaveProperty("isError");
    const used = (await capstan.store.used([grant.id])).get(grant.id)?.wallMs ?? 0;
    expect(used).toBeGreaterThanOrEqual(4 * 25);
    expect(used).toBeLessThan(1_000);
    const spent = { ...grant, limits: { wallMs: used } };
    await expect(capstan.call("work", {}, { by: { grant: spent } })).rejects.toThrow(refused("budget.wall"));
    const child = derive(spent, sameAs(spent), { id: "child", now: capstan.permissions.now() });
    await expect(capstan.call("work", {}, { by: { grant: child } })).rejects.toThrow(refused("budget.wall"));
  });

  test("gives back what a call reserved and did not use", async () => {
    const tool = testTool("work", {
      reserve: () => ({ cpuMs: 1000 }),
      run: async (_args, { reserved }) => ({ type: "done", value: reserved, usage: { cpuMs: 505 } }),
    });
    await using capstan = await openTestDoor([tool]);
    const by = { grant: { ...capstan.grant, limits: { cpuMs: 1010 } } };
    const first = await capstan.call("work", {}, { by });
    expect(first.outcome).toHaveProperty("value", { calls: 1, cpuMs: 1000 });
    expect((await capstan.store.used([capstan.grant.id])).get(capstan.grant.id)).toEqual({ calls: 1, cpuMs: 505 });
    const second = await capstan.call("work", {}, { by });
    expect(second.outcome).toHaveProperty("value", { calls: 1, cpuMs: 505 });
    await expect(capstan.call("work", {}, { by })).rejects.toThrow(refused("budget.cpu"));
  });

  test("lets calls inside one use no more processor time in all than that one reserved, and never all of it", async () => {
    const reserved: (number | undefined)[] = [];
    const told: unknown[] = [];
    const inner = testTool("inner", {
      reserve: () => ({ cpuMs: 1000 }),
      async run({ text }, context) {
        reserved.push(context.reserved.cpuMs);
        if (text === "on") await context.call("inner", {});
        return { type: "done", usage: { cpuMs: context.reserved.cpuMs ?? 0 } };
      },
    });
    const outer = testTool("outer", {
      reserve: () => ({ cpuMs: 1000 }),
      async run(_args, { call, reserved: own }) {
        await call("inner", { text: "on" });
        for (let calls = 0; calls < 10; calls += 1) await call("inner", {}).catch((thrown) => told.push(thrown));
        return { type: "done", usage: { cpuMs: own.cpuMs ?? 0 } };
      },
    });
    await using capstan = await openTestDoor([inner, outer]);
    const grant = { ...capstan.grant, limits: { cpuMs: 80 } };
    await capstan.call("outer", {}, { by: { grant } });
    expect(reserved).toEqual([40, 20, 10, 5, 2, 1, 1, 1]);
    expect(told).toContainEqual(refused("budget.cpu"));
    expect((await capstan.store.used([grant.id])).get(grant.id)?.cpuMs).toBe(160);
  });

  test("tells a tool's own failure as a result, and hides what a fault says", async () => {
    const expected = testTool("expected", {
      run: () => Promise.reject(new CapstanError("todo.not_found", "No todo has this id.")),
    });
    const fault = testTool("fault", { run: () => Promise.reject(new Error("secret detail")) });
    await using capstan = await openTestDoor([expected, fault]);
    const one = await capstan.call("expected");
    expect(one.outcome).toMatchObject({ isError: true, code: "todo.not_found" });
    const other = await capstan.call("fault");
    expect(other.outcome).toMatchObject({ isError: true, code: "core.internal" });
    expect(JSON.stringify(other)).not.toContain("secret detail");
    expect(capstan.faults).toHaveLength(1);
  });

  test("refuses a value that its output schema does not allow", async () => {
    const tool = defineTool({
      name: "liar",
      title: "Liar",
      description: "Says a number and gives text.",
      input: fromZod(z.strictObject({})),
      output: fromZod(z.strictObject({ n: z.number() })),
      hints: { readOnly: true, destructive: false, idempotent: true, openWorld: false },
      effect: "read",
      needs: () => [],
      run: async () => ({ type: "done", value: JSON.parse('{"n":"no"}') }),
    });
    await using capstan = await openTestDoor([tool]);
    expect((await capstan.call("liar")).outcome).toMatchObject({ isError: true, code: "tool.bad_output" });
  });

  test("ends a call at its deadline and one that is cancelled, also where the tool does not listen", async () => {
    const deaf = testTool("deaf", { timeoutMs: () => 50, run: () => new Promise(() => {}) });
    const long = testTool("long", {
      run: (_, { signal }) =>
        new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    });
    await using capstan = await openTestDoor([deaf, long]);
    expect((await capstan.call("deaf")).outcome).toMatchObject({ isError: true, code: "tool.timeout" });
    const cancel = new AbortController();
    const running = capstan.call("long", {}, { signal: cancel.signal });
    setTimeout(() => cancel.abort(), 20);
    await expect(running).rejects.toThrow(refused("tool.cancelled"));
    await expect(capstan.call("long", {}, { signal: AbortSignal.abort() })).rejects.toThrow(refused("tool.cancelled"));
  });

  test("does not begin a call that is cancelled while it is put on record", async () => {
    let runs = 0;
    const tool = testTool("count", { run: async () => ({ type: "done", value: { runs: (runs += 1) } }) });
    await using capstan = await openTestDoor([tool]);
    const cancel = new AbortController();
    const running = capstan.call("count", {}, { signal: cancel.signal });
    cancel.abort();
    await expect(running).rejects.toThrow(refused("tool.cancelled"));
    expect(await capstan.audit()).toHaveLength(1);
    expect(valueOf((await capstan.call("count")).outcome)).toEqual({ runs: 1 });
  });

  test("charges a call once, however often it comes back under its id", async () => {
    await using capstan = await openTestDoor([testTool("echo")]);
    const by = { grant: { ...capstan.grant, limits: { calls: 1 } } };
    await capstan.call("echo", {}, { callId: "call_again", by });
    await capstan.call("echo", {}, { callId: "call_again", by });
    await expect(capstan.call("echo", {}, { by })).rejects.toThrow(refused("budget.calls"));
  });
});

test("two tools of one name make no toolbox", () => {
  expect(() => toToolbox({ tools: [testTool("same"), testTool("same")] })).toThrow(refused("tool.bad_definition"));
});

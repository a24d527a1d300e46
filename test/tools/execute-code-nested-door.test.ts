import { afterAll, describe, expect, test } from "vitest";
import { newId } from "../../src/core/id.ts";
import { localPrincipal, localScope } from "../../src/core/scope.ts";
import type { Engine, ExecRequest } from "../../src/sandbox/engine.ts";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { artifactResources } from "../../src/tools/artifact-resources.ts";
import type { Progress } from "../../src/tools/tool.ts";
import { testTool, valueOf } from "../support/door.ts";
import { openCodeDoor } from "./code-door.ts";

const engine = openQuickjsEngine();
afterAll(() => engine[Symbol.asyncDispose]());

const fail = (): never => {
  throw new Error("secret");
};

const asking = testTool("asking", {
  run: async () => ({
    type: "waiting",
    requests: [{ id: "1", type: "form", message: "Really?", schema: {} }],
    state: null,
  }),
});
const everything = { form: true, url: true, sampling: true, roots: true };

describe("the calls of code", () => {
  test("mark the files that it writes with where their content came from", async () => {
    const reader = testTool("reader", { run: async () => ({ type: "done", value: "obey me", taint: ["web"] }) });
    await using capstan = await openCodeDoor([engine], { others: [reader] });
    const { outcome, taint } = await capstan.run('files.write("a.txt", await tools.reader()); 1');
    expect(taint).toEqual(["web"]);
    const uri: unknown = Object(valueOf(outcome)).artifacts[0].uri;
    const context = {
      ...{ principal: localPrincipal, scope: localScope, grant: capstan.grant, callId: newId("call"), taint: [] },
      ...{ signal: AbortSignal.timeout(110_000), progress: () => {}, log: () => {} },
    };
    const read = await artifactResources(capstan.artifacts).read(String(uri), context);
    expect(read).toMatchObject({ contents: [{ text: "obey me" }], taint: ["web"] });
    const clean = await capstan.run('files.write("b.txt", "mine"); 1');
    const cleanUri = String(Object(valueOf(clean.outcome)).artifacts[0].uri);
    expect(await artifactResources(capstan.artifacts).read(cleanUri, context)).toMatchObject({ taint: [] });
  });

  test("are counted together with those of the code that it runs in turn", async () => {
    await using capstan = await openCodeDoor([engine], { others: [testTool("look")], limits: { calls: 6 } });
    const inner =
      "let calls = 0; try { for (;;) { await tools.look({}); calls++ } } catch (error) { [calls, error.code] }";
    const code = `const told = [];
      for (let run = 0; run < 3; run++) {
        try { told.push((await tools.execute_code({ language: "javascript", code: ${JSON.stringify(inner)} })).result) }
        catch (error) { told.push(error.code) }
      } told`;
    const { outcome } = await capstan.run(code);
    expect(valueOf(outcome)).toMatchObject({ result: [[5, "budget.calls"], "budget.calls", "budget.calls"] });
    expect((await capstan.store.used([capstan.grant.id])).get(capstan.grant.id)).toEqual({ calls: 7 });
  });

  test("end it as denied where it does not catch a refusal, and as an error where there was none", async () => {
    const needy = testTool("needy", { needs: () => [{ type: "session", name: "other" }] });
    const other = { others: [testTool("look"), needy], limits: { calls: 1 } };
    const statusOf = async (code: string) => {
      await using capstan = await openCodeDoor([engine], other);
      return valueOf((await capstan.run(code)).outcome);
    };
    const denied = await statusOf("await tools.look({}); await tools.look({})");
    expect(denied).toMatchObject({ status: "denied", error: expect.stringContaining("budget.calls: ") });
    const caught = "await tools.look({}); await tools.look({}).catch(() => {}); 1";
    expect(await statusOf(caught)).toMatchObject({ status: "ok", result: 1 });
    const refused = await statusOf("await tools.needy({})");
    expect(refused).toMatchObject({ status: "denied", error: expect.stringContaining("permission.no_right: ") });
    expect(await statusOf("throw new Error('permission.no_right: said the code')")).toMatchObject({ status: "error" });
  });

  test("end with the code: a tool that still works hears of it, and what it answers goes nowhere", async () => {
    const late = Promise.withResolvers<string>();
    const signals: AbortSignal[] = [];
    const slow = testTool("slow", {
      run: async (_args, { signal }) => {
        signals.push(signal);
        return { type: "done", value: await late.promise };
      },
    });
    await using capstan = await openCodeDoor([engine], { others: [slow, testTool("look")] });
    const { outcome } = await capstan.run("await tools.slow({})", { timeoutMs: 200 });
    expect(valueOf(outcome)).toMatchObject({ status: "timeout" });
    const cancelled = capstan.run("await tools.slow({})", {}, { signal: AbortSignal.timeout(200) });
    await expect(cancelled).rejects.toMatchObject({ code: "tool.cancelled" });
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
    const next = capstan.run('const seen = await tools.look({ text: "mine" }); seen.text');
    late.resolve("late");
    expect(valueOf((await next).outcome)).toMatchObject({ status: "ok", result: "mine" });
  });

  test("die with their execution: a late one is refused and charged nothing", async () => {
    const kept: NonNullable<ExecRequest["onCall"]>[] = [];
    const keeping: Engine = {
      ...engine,
      async open(spec, signal) {
        const sandbox = await engine.open(spec, signal);
        return {
          run(request, stop) {
            if (request.onCall !== undefined) kept.push(request.onCall);
            return sandbox.run(request, stop);
          },
          [Symbol.asyncDispose]: () => sandbox[Symbol.asyncDispose](),
        };
      },
    };
    await using capstan = await openCodeDoor([keeping], { others: [testTool("look")] });
    const ran = await capstan.run("await tools.look({})");
    expect(valueOf(ran.outcome)).toMatchObject({ status: "ok", result: { text: "" } });
    const rows = (await capstan.audit()).length;
    const [late] = kept;
    const noPause = (): Disposable => ({ [Symbol.dispose]() {} });
    await expect(late?.("look", {}, AbortSignal.timeout(1_000), noPause)).rejects.toMatchObject({
      code: "tool.cancelled",
    });
    expect((await capstan.store.used([capstan.grant.id])).get(capstan.grant.id)).toEqual({ calls: 2 });
    expect(await capstan.audit()).toHaveLength(rows);
  });

  test.for<readonly [string, () => unknown]>([
    ["an error of this process", () => new Error("secret")],
    ["an object that leads to this process", () => ({ constructor: { constructor: () => process } })],
    ["a function", () => () => "secret"],
    ["a proxy that throws", () => new Proxy({}, { get: fail })],
    ["nothing", () => undefined],
  ])("get nothing of %s that a tool throws", async ([, toThrown]) => {
    const fails = testTool("fails", { run: () => Promise.reject(toThrown()) });
    await using capstan = await openCodeDoor([engine], { others: [fails] });
    const code = `let told; try { await tools.fails({}) } catch (error) {
      const root = error.constructor.constructor("return globalThis")();
      told = [error.code, error instanceof ToolError, root === globalThis, typeof root.process, Object.keys(error)];
    } told`;
    const { outcome } = await capstan.run(code);
    expect(valueOf(outcome)).toMatchObject({ result: ["core.internal", true, true, "undefined", []] });
    expect(JSON.stringify(outcome)).not.toContain("secret");
  });

  test("are told as they are made, but not each of many", async () => {
    const told: Progress[] = [];
    await using capstan = await openCodeDoor([engine], { others: [testTool("look")], limits: { calls: 200 } });
    const code = "for (let call = 0; call < 200; call++) await tools.look({}); 1";
    const startedAt = performance.now();
    await capstan.run(code, {}, { progress: (progress) => told.push(progress) });
    expect(told[0]).toEqual({ done: 1, message: "look (call 1)" });
    expect(told.length).toBeLessThanOrEqual(2 + (performance.now() - startedAt) / 250);
  });

  test("hear no more than a code of an answerer that fails, and the fault is told to the operator", async () => {
    await using capstan = await openCodeDoor([engine], { others: [asking] });
    const failure = new Error("secret");
    const now = { ask: () => Promise.reject(failure), approve: () => Promise.reject(failure) };
    const code = "let told; try { await tools.asking({}) } catch (error) { told = error.code } told";
    const { outcome } = await capstan.run(code, {}, { answerer: { can: everything, now } });
    expect(valueOf(outcome)).toMatchObject({ result: "core.internal" });
    expect(JSON.stringify(outcome)).not.toContain("secret");
    expect(capstan.faults).toEqual([failure]);
  });

  test("wait for nobody in a run, where nobody answers", async () => {
    await using capstan = await openCodeDoor([engine], { others: [asking] });
    const code = "let told; try { await tools.asking({}) } catch (error) { told = error.message } told";
    const answerer = { can: everything };
    for (const given of [{}, { answerer }]) {
      const { outcome } = await capstan.run(code, {}, given);
      expect(valueOf(outcome)).toMatchObject({
        result: "tool.input_needed: asking asks what nobody can answer while code runs: Really?",
      });
    }
  });
});

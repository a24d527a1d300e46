import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import type { Json } from "../../src/core/json.ts";
import type { Engine, Language } from "../../src/sandbox/engine.ts";
import { killMs, runIn, testLimits } from "./hostile.ts";

/** The same small programs in the language of an engine. Each is a whole program; what it must do stands beside it. */
export interface Snippets {
  readonly language: Language;
  /** Prints the line `out` to stdout and `err` to stderr; no result. */
  readonly print: string;
  /** Result: `{ "list": [1, "two", null, true], "deep": { "x": 1.5 } }`. */
  readonly json: string;
  /** Fails with an exception whose text holds `boom`. */
  readonly fail: string;
  readonly syntaxError: string;
  /** Never ends, busy. */
  readonly spin: string;
  /** Takes memory until it is refused. */
  readonly hog: string;
  /** Prints at least a mebibyte, then ends well. */
  readonly flood: string;
  /** Result: not-a-number. */
  readonly nan: string;
  /** Result: a text of a mebibyte. */
  readonly bigResult: string;
  /** Result: the text of the input file `data/in.txt`. */
  readonly readInput: string;
  /** Writes `text` to the artifact `path`. */
  readonly write: (path: string, text: string) => string;
  /** Awaits `tools.echo({ "x": 1 })` once; result: its answer. */
  readonly callOnce: string;
  /** Tries `tools.echo` five times, one after the other; result: how many succeeded. */
  readonly callFive: string;
  /** Calls `tools.echo` and gives the text of the exception as result. */
  readonly callCaught: string;
  /** Result: a random number from the language's usual source. */
  readonly random: string;
  /** Leaves a global `leak`, and result: whether it was there already. */
  readonly global: string;
}

/** The contract of the Engine port, run over a real engine. */
export function describeEngine(name: string, openEngine: () => Engine, snippets: Snippets): void {
  const { language } = snippets;
  describe(`${name}: the contract of an engine`, () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = openEngine();
      expect(await engine.probe(AbortSignal.timeout(110_000))).toBeNull();
    });
    afterAll(() => engine[Symbol.asyncDispose]());
    const run = (code: string, over?: Parameters<typeof runIn>[3]) => runIn(engine, language, code, over);

    test("a run tells its end, its usage and its isolation", async () => {
      const { usage, isolation, ...rest } = await run("1+1");
      expect(rest).toEqual({ status: "ok", stdout: "", stderr: "", outputCut: false, result: 2, artifacts: [] });
      expect(isolation).toMatchObject({ engine: engine.name, level: engine.level });
      expect(isolation.network).not.toBe("");
      for (const amount of Object.values(usage)) expect(amount).toBeGreaterThanOrEqual(0);
      expect(usage.memoryBytes).toBeGreaterThan(0);
    });

    test("stdout and stderr come apart", async () => {
      expect(await run(snippets.print)).toMatchObject({ status: "ok", stdout: "out\n", stderr: "err\n", result: null });
    });

    test("a result is JSON", async () => {
      const { status, result, resultNote } = await run(snippets.json);
      expect({ status, result }).toEqual({ status: "ok", result: { list: [1, "two", null, true], deep: { x: 1.5 } } });
      expect(resultNote).toBeUndefined();
    });

    test("what JSON can't hold is noted", async () => {
      const { status, resultNote } = await run(snippets.nan);
      expect(status).toBe("ok");
      expect(resultNote).toMatch(/\bNaN\b/i);
    });

    test("a result beyond its limit is refused, not cut", async () => {
      const { status, result, error } = await run(snippets.bigResult);
      expect({ status, result }).toEqual({ status: "output", result: null });
      expect(error).toMatch(/65536 bytes/);
    });

    test("an exception is an error that names it", async () => {
      const { status, error } = await run(snippets.fail);
      expect(status).toBe("error");
      expect(error).toContain("boom");
    });

    test("a syntax error is an error that names it", async () => {
      const { status, error } = await run(snippets.syntaxError);
      expect(status).toBe("error");
      expect(error).toContain("SyntaxError");
    });

    test("output past its limit is cut and flagged", async () => {
      const { status, stdout, stderr, outputCut } = await run(snippets.flood);
      expect({ status, outputCut }).toEqual({ status: "ok", outputCut: true });
      const bytes = Buffer.byteLength(stdout + stderr);
      expect(bytes).toBeGreaterThan(32 * 1024);
      expect(bytes).toBeLessThanOrEqual(64 * 1024);
    });

    test("the wall limit ends a busy loop", async () => {
      const { status, usage } = await run(snippets.spin, { limits: { wallMs: 300 } });
      expect(status).toBe("timeout");
      expect(usage.wallMs).toBeGreaterThanOrEqual(295);
      expect(usage.wallMs).toBeLessThan(300 + killMs);
    });

    test("the processor limit ends a busy loop", async () => {
      const { status, usage } = await run(snippets.spin, { limits: { cpuMs: 300 } });
      expect(status).toBe("timeout");
      expect(usage.wallMs).toBeLessThan(testLimits.wallMs);
    });

    test("the memory limit ends a hog", async () => {
      expect(await run(snippets.hog)).toMatchObject({ status: "memory" });
    });

    test("an abort ends a busy loop", async () => {
      await using sandbox = await engine.open({ language }, new AbortController().signal);
      const request = { language, code: snippets.spin, files: [], limits: testLimits };
      const startedAt = performance.now();
      const { status } = await sandbox.run(request, AbortSignal.timeout(200));
      expect(status).toBe("cancelled");
      expect(performance.now() - startedAt).toBeLessThan(200 + killMs);
    });

    test("an aborted signal runs nothing", async () => {
      await using sandbox = await engine.open({ language }, new AbortController().signal);
      const calls: string[] = [];
      const onCall = (called: string): Promise<Json> => Promise.resolve(calls.push(called));
      const request = { language, code: snippets.callOnce, files: [], limits: testLimits, onCall };
      expect(await sandbox.run(request, AbortSignal.abort())).toMatchObject({ status: "cancelled" });
      expect(calls).toEqual([]);
    });

    test("disposing a sandbox ends its run", async () => {
      const sandbox = await engine.open({ language }, new AbortController().signal);
      const request = { language, code: snippets.spin, files: [], limits: testLimits };
      const running = sandbox.run(request, new AbortController().signal);
      await sleep(100);
      await sandbox[Symbol.asyncDispose]();
      expect(await running).toMatchObject({ status: "cancelled" });
    });

    test("a sandbox runs once", async () => {
      await using sandbox = await engine.open({ language }, new AbortController().signal);
      const request = { language, code: "1+1", files: [], limits: testLimits };
      expect(await sandbox.run(request, new AbortController().signal)).toMatchObject({ status: "ok" });
      const again = sandbox.run(request, new AbortController().signal);
      await expect(again).rejects.toSatisfy(hasCode("sandbox.bad_request"));
    });

    test("input files are read", async () => {
      const files = [{ path: "data/in.txt", bytes: Buffer.from("from outside é") }];
      expect(await run(snippets.readInput, { files })).toMatchObject({ status: "ok", result: "from outside é" });
    });

    test.for(["../in.txt", "/etc/in.txt", "a//b", "a\nb"])("an input file at %j is refused", async (path) => {
      const refused = run("1+1", { files: [{ path, bytes: Buffer.from("x") }] });
      await expect(refused).rejects.toSatisfy(hasCode("sandbox.bad_request"));
    });

    test("artifacts come out", async () => {
      const { status, artifacts } = await run(snippets.write("plots/a.txt", "inside é"));
      expect(status).toBe("ok");
      expect(artifacts.map(({ path, bytes }) => [path, Buffer.from(bytes).toString()])).toEqual([
        ["plots/a.txt", "inside é"],
      ]);
    });

    test("artifacts are no more than their limits", async () => {
      const over = await run(snippets.write("big.txt", "x".repeat(2_000)), { limits: { artifactBytes: 1_000 } });
      expect(over.artifacts).toEqual([]);
      expect(over.status === "error" || over.resultNote !== undefined || over.stderr !== "").toBe(true);
      const none = await run(snippets.write("a.txt", "x"), { limits: { artifacts: 0 } });
      expect(none.artifacts).toEqual([]);
    });

    test.for(["../evil", "/etc/evil", "a//b", "x".repeat(201), "a\nb", "a\\b", "con"])(
      "an artifact at %j does not come out under that name",
      async (path) => {
        const { artifacts } = await run(snippets.write(path, "evil"));
        expect(artifacts.map((artifact) => artifact.path)).not.toContain(path);
      },
    );

    test("code calls the host", async () => {
      const onCall = (called: string, args: Json): Promise<Json> => Promise.resolve({ called, args, é: ["\u2028"] });
      const { status, result } = await run(snippets.callOnce, { onCall });
      expect({ status, result }).toEqual({
        status: "ok",
        result: { called: "echo", args: { x: 1 }, é: ["\u2028"] },
      });
    });

    test("a refusal of the host is an exception in the code", async () => {
      const refusal = new CapstanError("permission.no_right", "The grant does not hold echo.");
      const { status, result } = await run(snippets.callCaught, { onCall: () => Promise.reject(refusal) });
      expect(status).toBe("ok");
      expect(result).toContain("permission.no_right: The grant does not hold echo.");
    });

    test("a fault of the host shows nothing of itself", async () => {
      const fault = new Error("secret of the host at /etc/secret.ts:1");
      const { status, result } = await run(snippets.callCaught, { onCall: () => Promise.reject(fault) });
      expect(status).toBe("ok");
      expect(result).toContain("core.internal");
      expect(JSON.stringify(result)).not.toContain("secret");
    });

    test("code that may not call is told so", async () => {
      const { status, result } = await run(snippets.callCaught);
      expect(status).toBe("ok");
      expect(result).toContain("permission.no_right");
    });

    test("calls past their limit are refused, and don't reach the host", async () => {
      let calls = 0;
      const onCall = (): Promise<Json> => Promise.resolve((calls += 1));
      expect(await run(snippets.callFive, { onCall, limits: { calls: 3 } })).toMatchObject({ status: "ok", result: 3 });
      expect(calls).toBe(3);
    });

    test("a call is cancelled when its run ends, and its late answer goes nowhere", async () => {
      const late = Promise.withResolvers<Json>();
      const signals: AbortSignal[] = [];
      const onCall = (_name: string, _args: Json, signal: AbortSignal): Promise<Json> => {
        signals.push(signal);
        return late.promise;
      };
      const first = await run(snippets.callOnce, { onCall, limits: { wallMs: 500 } });
      expect(first.status).toBe("timeout");
      expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
      const answered = run(snippets.callOnce, { onCall: () => sleep(100, "second") });
      late.resolve("first");
      expect(await answered).toMatchObject({ status: "ok", result: "second" });
    });

    test("the clock stands still while the host says so, and no longer", async () => {
      const limits = { wallMs: 600 };
      const asked = async (_name: string, _args: Json, _signal: AbortSignal, pause: () => Disposable) => {
        using _ = pause();
        return await sleep(1_000, "asked");
      };
      const paused = await run(snippets.callOnce, { limits, onCall: asked });
      expect(paused).toMatchObject({ status: "ok", result: "asked" });
      expect(paused.usage.wallMs).toBeLessThan(600);
      const onCall = async (...given: Parameters<typeof asked>): Promise<Json> => {
        given[3]()[Symbol.dispose]();
        return await sleep(1_000, "late");
      };
      expect(await run(snippets.callOnce, { limits, onCall })).toMatchObject({ status: "timeout" });
    });

    test("a run leaves nothing to the next", async () => {
      expect(await run(snippets.global)).toMatchObject({ status: "ok", result: false });
      expect(await run(snippets.global)).toMatchObject({ status: "ok", result: false });
    });

    test("random numbers differ between runs", async () => {
      const results = [await run(snippets.random), await run(snippets.random), await run(snippets.random)];
      expect(new Set(results.map(({ result }) => result)).size).toBe(3);
    });

    test("parallel runs never cross", async () => {
      const ids = Array.from({ length: 6 }, (_, index) => index);
      const results = await Promise.all(ids.map((id) => run(snippets.callOnce, { onCall: () => sleep(5, id) })));
      expect(results.map(({ result }) => result)).toEqual(ids);
    });

    test("a closed engine opens nothing", async () => {
      const closed = openEngine();
      await closed[Symbol.asyncDispose]();
      await expect(closed.open({ language }, new AbortController().signal)).rejects.toSatisfy(
        hasCode("sandbox.unavailable"),
      );
    });
  });
}

const hasCode =
  (code: string) =>
  (thrown: unknown): boolean =>
    thrown instanceof CapstanError && thrown.code === code;

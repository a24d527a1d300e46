import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Json } from "../../src/core/json.ts";
import type { Engine, ExecRequest, ExecResult, Language, Sandbox } from "../../src/sandbox/engine.ts";
import { killMs, testLimits } from "./hostile.ts";

/** The same small programs in the language of an engine, for sessions. Those of one test run one after the other. */
export interface SessionSnippets {
  readonly language: Language;
  /** Sets the variable `count` to 1; result: 1. */
  readonly begin: string;
  /** Adds 1 to `count`; result: what it is then. */
  readonly add: string;
  readonly fail: string;
  /** Makes a function that fails, and calls it, in its second line. */
  readonly makeFailing: string;
  readonly callFailing: string;
  /** What a trace says of the second line of the first run, and of the first line of the second. */
  readonly places: readonly [first: string, second: string];
  readonly syntaxError: string;
  /** Result: a text of a mebibyte. */
  readonly bigResult: string;
  readonly spin: string;
  /** Keeps 24 MiB more than before in a variable, and gives 0. */
  readonly hoard: string;
  /** Result: the text of an input file. */
  readonly read: (path: string) => string;
  /** Writes a text to an output file; no result. */
  readonly write: (path: string, text: string) => string;
  /** Result: the text of an output file, in what the language calls output. */
  readonly readOutput: (path: string) => string;
  /** Leaves something behind that adds 1 to `count` in a few ms, and again and again, if anything moves; result: 0. */
  readonly leaveTicking: string;
  /** Begins a call of `tools.echo` that nobody awaits; result: 0. */
  readonly leaveCall: string;
  /** Calls `tools.echo({ "x": 1 })`; result: its answer. */
  readonly call: string;
  /** Result: 7, by the variable `result` where the language has that. */
  readonly result: string;
  /** Reads what `result` left, and has no result. */
  readonly noResult: string;
  /** Prints `one`. */
  readonly print: string;
}

/** What a session promises, run over a real engine. */
export function describeSessions(name: string, openEngine: () => Engine, snippets: SessionSnippets): void {
  const { language } = snippets;
  describe(`${name}: sessions`, () => {
    let engine: Engine;
    beforeAll(() => {
      engine = openEngine();
    });
    afterAll(() => engine[Symbol.asyncDispose]());
    const never = new AbortController().signal;
    const open = (): Promise<Sandbox> => engine.open({ language, isSession: true }, never);
    const run = (sandbox: Sandbox, code: string, over: Partial<ExecRequest> = {}): Promise<ExecResult> =>
      sandbox.run({ language, code, files: [], limits: testLimits, ...over }, never);
    const isOver = expect.objectContaining({ name: "CapstanError", code: "sandbox.bad_request" });

    test("variables and files live on, also after an exception, a syntax error and a result that is too large", async () => {
      await using session = await open();
      expect(await run(session, snippets.begin)).toMatchObject({ status: "ok", result: 1 });
      const given = { files: [{ path: "data/in.txt", bytes: Buffer.from("é") }] };
      expect(await run(session, snippets.read("data/in.txt"), given)).toMatchObject({ result: "é" });
      expect(await run(session, snippets.fail)).toMatchObject({ status: "error" });
      expect(await run(session, snippets.syntaxError)).toMatchObject({ status: "error" });
      expect(await run(session, snippets.bigResult)).toMatchObject({ status: "output" });
      expect(await run(session, snippets.read("data/in.txt"))).toMatchObject({ status: "ok", result: "é" });
      const last = await run(session, snippets.add);
      expect(last).toMatchObject({ status: "ok", result: 2, stdout: "" });
      expect(last).not.toHaveProperty("isOver");
    });

    test("the artifacts of a run are all that stands in the output folder, also what was there before the session", async () => {
      await using session = await open();
      const paths = ({ artifacts }: ExecResult): unknown =>
        Object.fromEntries(artifacts.map(({ path, bytes }) => [path, Buffer.from(bytes).toString()]));
      const outFiles = [{ path: "old/a.txt", bytes: Buffer.from("kept") }];
      expect(paths(await run(session, snippets.write("b.txt", "1"), { outFiles }))).toEqual({
        "b.txt": "1",
        "old/a.txt": "kept",
      });
      const changed = await run(session, snippets.write("b.txt", "two"));
      expect(paths(changed)).toEqual({ "b.txt": "two", "old/a.txt": "kept" });
      expect(await run(session, snippets.readOutput("old/a.txt"))).toMatchObject({ result: "kept" });
      const evil = run(session, snippets.begin, { outFiles: [{ path: "../a", bytes: Buffer.from("") }] });
      await expect(evil).rejects.toEqual(isOver);
    });

    test("what is beyond the limits stays in the output folder, and that not all came out is said", async () => {
      await using session = await open();
      const outFiles = ["a", "b", "c"].map((path) => ({ path, bytes: Buffer.from("12345") }));
      const few = await run(session, snippets.begin, { outFiles, limits: { ...testLimits, artifacts: 2 } });
      const small = await run(session, snippets.add, { limits: { ...testLimits, artifactBytes: 12 } });
      for (const { artifacts, artifactsCut = false } of [few, small]) expect(artifactsCut).toBe(artifacts.length < 3);
      const all = await run(session, snippets.add);
      expect(all.artifacts.map(({ path }) => path)).toEqual(["a", "b", "c"]);
      expect(all).not.toHaveProperty("artifactsCut");
    });

    test("a run gives its own result, and none of an earlier run", async () => {
      await using session = await open();
      for (const _ of [1, 2]) {
        expect(await run(session, snippets.result)).toMatchObject({ status: "ok", result: 7 });
        expect(await run(session, snippets.noResult)).toMatchObject({ status: "ok", result: null });
      }
    });

    test("a trace tells by which run of the session a function was made", async () => {
      await using session = await open();
      const [made, called] = snippets.places;
      const first = await run(session, snippets.makeFailing);
      expect(first.error).toContain(made);
      expect(first.error).not.toContain(called);
      const { error } = await run(session, snippets.callFailing);
      expect(error).toContain(made);
      expect(error).toContain(called);
    });

    test("a session is another's neighbour, and sees nothing of it", async () => {
      await using one = await open();
      await using other = await open();
      await run(one, snippets.begin);
      expect(await run(other, snippets.add)).toMatchObject({ status: "error" });
      expect(await run(one, snippets.add)).toMatchObject({ result: 2 });
    });

    test("each run has its own time and output, and all of them one memory", async () => {
      await using session = await open();
      for (const _ of [1, 2, 3]) {
        expect(await run(session, snippets.print)).toMatchObject({ stdout: "one\n", outputCut: false });
      }
      const statuses: string[] = [];
      for (let round = 0; round < 12 && (statuses.at(-1) ?? "ok") === "ok"; round += 1) {
        statuses.push((await run(session, snippets.hoard)).status);
      }
      expect(statuses.slice(0, 2)).toEqual(["ok", "ok"]);
      expect(statuses.at(-1)).toBe("memory");
    });

    test("a run that ends in time, by a cancel or by disposing ends the session, and says so", async () => {
      await using slow = await open();
      await run(slow, snippets.begin);
      const timeout = await run(slow, snippets.spin, { limits: { ...testLimits, wallMs: 300 } });
      expect(timeout).toMatchObject({ status: "timeout", isOver: true });
      expect(timeout.usage.wallMs).toBeLessThan(300 + killMs);
      await expect(run(slow, snippets.add)).rejects.toEqual(isOver);
      const session = await open();
      await run(session, snippets.begin);
      const running = run(session, snippets.spin);
      await expect(run(session, snippets.add)).rejects.toEqual(isOver);
      await sleep(50);
      await session[Symbol.asyncDispose]();
      expect(await running).toMatchObject({ status: "cancelled", isOver: true });
      await expect(run(session, snippets.add)).rejects.toEqual(isOver);
    });

    test("between runs nothing moves, and what is called then goes nowhere", async () => {
      await using session = await open();
      await run(session, snippets.begin);
      expect(await run(session, snippets.leaveTicking)).toMatchObject({ status: "ok" });
      const late = Promise.withResolvers<Json>();
      const asked = Promise.withResolvers<AbortSignal>();
      const onCall = (_name: string, _args: Json, signal: AbortSignal): Promise<Json> => {
        asked.resolve(signal);
        return late.promise;
      };
      expect(await run(session, snippets.leaveCall, { onCall })).toMatchObject({ status: "ok" });
      expect((await asked.promise).aborted).toBe(true);
      late.resolve("late");
      const before = Number((await run(session, snippets.add)).result);
      // It ticks each millisecond, and a busy machine may take a while to stop it.
      await sleep(1_000);
      const after = Number((await run(session, snippets.add)).result);
      expect(after - before).toBeLessThan(300);
      let calls = 0;
      const answer = await run(session, snippets.call, { onCall: () => Promise.resolve((calls += 1)) });
      expect(answer).toMatchObject({ status: "ok", result: 1 });
      expect(await run(session, snippets.call)).toMatchObject({
        status: "error",
        error: expect.stringContaining("permission.no_right"),
      });
      expect(calls).toBe(1);
    });
  });
}

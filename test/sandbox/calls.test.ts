import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import type { Json } from "../../src/core/json.ts";
import type { ExecLimits, ExecRequest, Isolation } from "../../src/sandbox/engine.ts";
import { conduct, takeGuest } from "../../src/sandbox/process/conduct.ts";
import type { Guest } from "../../src/sandbox/process/guest.ts";
import { testLimits } from "./hostile.ts";

const isolation: Isolation = { engine: "test", level: "wasm-in-child", network: "none" };

/** What a guest that was taken over can do on its pipes. */
interface Hostile {
  /** The nonce of its order. */
  readonly nonce: string;
  readonly say: (frame: object) => void;
  /** Sends a call, blocking unless told otherwise. */
  readonly call: (id: number, over?: object) => void;
  readonly end: () => void;
  /** The lines that have come back, of both pipes. */
  readonly answers: Json[];
  /** Resolves when so many lines have come back. */
  readonly answered: (count: number) => Promise<void>;
}

/** Runs a guest that says what `act` makes it say, and gives the end of its run and what it was answered. */
async function runHostile(
  act: (guest: Hostile) => unknown,
  onCall: ExecRequest["onCall"],
  limits: Partial<ExecLimits> = {},
) {
  const [stdout, stderr, frames, orders, answersPipe] = Array.from({ length: 5 }, () => new PassThrough());
  if (!stdout || !stderr || !frames || !orders || !answersPipe) throw new Error("five streams");
  const gone = Promise.withResolvers<void>();
  const answers: Json[] = [];
  let acting: unknown;
  const say = (frame: object): void => void frames.write(`${JSON.stringify(frame)}\n`);
  const answered = async (count: number): Promise<void> => {
    while (answers.length < count) await sleep(1);
  };
  orders.once("data", (order: Buffer) => {
    const { nonce } = JSON.parse(order.toString());
    const takeLines = (chunk: Buffer): void =>
      void answers.push(
        ...chunk
          .toString()
          .trim()
          .split("\n")
          .map((line): Json => JSON.parse(line)),
      );
    orders.on("data", takeLines);
    answersPipe.on("data", takeLines);
    acting = act({
      nonce,
      say,
      answers,
      answered,
      call: (id, over) => say({ type: "call", nonce, id, name: "echo", argsJson: "{}", blocking: true, ...over }),
      end: () => say({ type: "done", nonce, status: "ok", resultJson: "1", stdoutBytes: 0, stderrBytes: 0 }),
    });
  });
  const guest: Guest = {
    ...{ stdout, stderr, frames, orders, answers: answersPipe, gone: gone.promise },
    meter: () => null,
    diagnostics: () => "",
    hold: () => {},
    freeze: () => {},
    kill: gone.resolve,
  };
  const request = {
    language: "python",
    code: "",
    files: [],
    limits: { ...testLimits, wallMs: 2_000, ...limits },
    ...(onCall === undefined ? {} : { onCall }),
  } as const;
  const { status, result } = await conduct(takeGuest(guest, false), request, isolation, new AbortController().signal);
  await acting;
  return { status, result, answers };
}

describe("a guest that was taken over", () => {
  test.for([
    ["a call with the nonce of another run", { nonce: "7a0ab1e6-8f5c-4a12-9d3a-3f1b4d8c2f11" }],
    ["a call without a nonce", { nonce: undefined }],
    ["a call whose id is no whole number", { id: 1.5 }],
    ["a call whose id is text", { id: "1" }],
    ["a call of a name that is too long", { name: "x".repeat(257) }],
    ["a call with more in it", { grant: "mine" }],
    ["an answer in the place of a call", { type: "answer", value: 1 }],
  ] as const)("reaches no tool by %s, and has crashed", async ([, over]) => {
    const called: string[] = [];
    const onCall = (name: string): Promise<Json> => Promise.resolve(called.push(name));
    const ran = await runHostile(({ call, end }) => [call(1, over), end()], onCall);
    expect(ran).toEqual({ status: "crashed", result: null, answers: [] });
    expect(called).toEqual([]);
    const lawful = await runHostile(
      async ({ call, answered, end }) => {
        call(1);
        await answered(1);
        end();
      },
      (name, args) => Promise.resolve({ name, args }),
    );
    expect(lawful).toMatchObject({ status: "ok", answers: [{ id: 1, value: { name: "echo", args: {} } }] });
  });

  test("pays for each call, also for those whose id it used before", async () => {
    const { answers } = await runHostile(
      async ({ call, answered, end }) => {
        for (let time = 0; time < 5; time += 1) call(7, { blocking: time % 2 === 0 });
        await answered(5);
        end();
      },
      (_name, args) => Promise.resolve(args),
      { calls: 3 },
    );
    const refused = { id: 7, error: { code: "budget.calls", message: expect.any(String) } };
    const value = { id: 7, value: {} };
    expect(answers).toHaveLength(5);
    expect(answers).toEqual(expect.arrayContaining([value, value, value, refused, refused]));
    expect(answers.filter((answer) => "value" in Object(answer))).toHaveLength(3);
  });

  test.for([
    ["no JSON", "{"],
    ["nested deeply", `${"[".repeat(30_000)}${"]".repeat(30_000)}`],
    ["more than a mebibyte", JSON.stringify("x".repeat(1024 * 1024))],
  ] as const)("is refused arguments that are %s", async ([, argsJson]) => {
    let calls = 0;
    const { status, answers } = await runHostile(
      async ({ call, answered, end }) => {
        call(1, { argsJson });
        await answered(1);
        end();
      },
      () => Promise.resolve((calls += 1)),
    );
    expect({ status, calls }).toEqual({ status: "ok", calls: 0 });
    expect(answers).toEqual([{ id: 1, error: { code: "tool.bad_arguments", message: expect.any(String) } }]);
  });

  test("puts nothing into the prototypes of this process", async () => {
    const argsJson = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}';
    const seen: Json[] = [];
    await runHostile(
      async ({ call, answered, end }) => {
        call(1, { argsJson });
        await answered(1);
        end();
      },
      (_name, args) => Promise.resolve(seen.push(args)),
    );
    expect(seen.map((args) => JSON.stringify(args))).toEqual([argsJson]);
    expect(seen[0]).not.toHaveProperty("polluted");
    expect({}).not.toHaveProperty("polluted");
  });

  test("calls nothing any more once it has said that it ended", async () => {
    const called: string[] = [];
    const onCall = (name: string): Promise<Json> => Promise.resolve(called.push(name));
    const ran = await runHostile(({ call, end }) => [end(), call(1), call(2)], onCall);
    expect(ran).toEqual({ status: "ok", result: 1, answers: [] });
    expect(called).toEqual([]);
  });

  test("hears that a call is over which has no answer at its end, and none that comes later, and the call hears of the end", async () => {
    const late = Promise.withResolvers<Json>();
    const signals: AbortSignal[] = [];
    const { answers } = await runHostile(
      async ({ call, end }) => {
        call(1);
        while (signals.length === 0) await sleep(1);
        end();
      },
      (_name, _args, signal) => {
        signals.push(signal);
        return late.promise;
      },
    );
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
    late.resolve("late");
    await sleep(5);
    expect(answers).toEqual([{ id: 1, error: { code: "tool.cancelled", message: expect.any(String) } }]);
  });

  test("is answered sixteen calls at a time, in the order in which they came", async () => {
    let running = 0;
    let most = 0;
    const order: Json[] = [];
    const { answers } = await runHostile(
      async ({ call, answered, end }) => {
        for (let id = 0; id < 50; id += 1) call(id, { blocking: false, argsJson: String(id) });
        await answered(50);
        end();
      },
      async (_name, args) => {
        order.push(args);
        most = Math.max(most, (running += 1));
        await sleep(5);
        running -= 1;
        if (args === 3) throw new CapstanError("todo.not_found", "There is no such todo.");
        if (args === 4) throw new Error("secret of the host");
        return args;
      },
      { calls: 50 },
    );
    expect(most).toBe(16);
    expect(order).toEqual(Array.from({ length: 50 }, (_, id) => id));
    expect(answers).toContainEqual({ id: 3, error: { code: "todo.not_found", message: "There is no such todo." } });
    expect(answers).toContainEqual({ id: 4, error: { code: "core.internal", message: expect.any(String) } });
    expect(JSON.stringify(answers)).not.toContain("secret");
  });
});

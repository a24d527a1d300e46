import * as fc from "fast-check";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import { localScope } from "../../src/core/scope.ts";
import type { ExecResult, Sandbox } from "../../src/sandbox/engine.ts";
import type { SessionOwner } from "../../src/tools/session/records.ts";
import { testLimits } from "../sandbox/hostile.ts";
import { openTestArtifacts } from "../support/artifacts.ts";
import { slowCases } from "../support/cases.ts";
import { handClock } from "../support/clock.ts";
import { toGrant } from "../support/door.ts";
import { openTestSessions } from "../support/sessions.ts";

const each = 2;
const all = 3;
const idleMs = 60_000;
const never = new AbortController().signal;

/** Sandboxes that count: how many are open, and what was done to one that must not be. They stand for any engine. */
function openCounted() {
  const counts = { open: 0, most: 0, wrong: 0 };
  const open = (): Promise<Sandbox> => {
    let variable = 0;
    let isRunning = false;
    let isOver = false;
    counts.open += 1;
    counts.most = Math.max(counts.most, counts.open);
    const sandbox: Sandbox = {
      async run({ code }) {
        if (isRunning || isOver) counts.wrong += 1;
        isRunning = true;
        await sleep(Number(code) % 3);
        isRunning = false;
        isOver ||= code === "7";
        return toResult((variable += 1), isOver);
      },
      async [Symbol.asyncDispose]() {
        if (!isOver) await sleep(1);
        isOver = true;
        counts.open -= 1;
      },
    };
    return Promise.resolve(sandbox);
  };
  return { counts, open };
}

const toResult = (result: number, isOver: boolean): ExecResult => ({
  status: isOver ? "timeout" : "ok",
  stdout: "",
  stderr: "",
  outputCut: false,
  result,
  artifacts: [],
  usage: { wallMs: 1, cpuMs: 1, memoryBytes: 1 },
  isolation: { engine: "counted", level: "wasm-in-thread", network: "none" },
  ...(isOver ? { isOver } : {}),
});

const owner = (user: number): SessionOwner => {
  const principal = { org: "local", user: `user${user}` };
  const grant = toGrant([], 0, 0, { id: `grant${user}`, principal, expiresAt: Number.MAX_SAFE_INTEGER });
  return { scope: localScope, principal, grant: { ...grant, rights: { ...grant.rights, sessions: ["*"] } } };
};

const call = fc.record({
  type: fc.constant("call" as const),
  user: fc.integer({ min: 0, max: 2 }),
  name: fc.constantFrom("a", "b", "c"),
  code: fc.integer({ min: 0, max: 8 }).map(String),
});
const step = fc.oneof(
  { weight: 6, arbitrary: call },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("wait" as const), ms: fc.constantFrom(1_000, idleMs) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant("end" as const),
      user: fc.integer({ min: 0, max: 2 }),
      name: fc.constantFrom("a", "b", "c"),
    }),
  },
);

test("whatever is called at the same time, a session has one run at a time, no more are open than may be, and none is left", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(step, { minLength: 1, maxLength: 6 }), { maxLength: 6 }), async (rounds) => {
      await using home = await openTestArtifacts();
      const clock = handClock();
      const { counts, open } = openCounted();
      const sessions = openTestSessions(home.store, clock, { each, all, idleMs });
      /** How often each session ran since it was new. */
      const ran = new Map<string, number>();
      const visit = async (user: number, name: string, code: string): Promise<void> => {
        await using seat = await sessions.enter(
          { ...owner(user), name, language: "python", isNetworked: false, open },
          never,
        );
        const request = { language: "python", code, files: [], limits: testLimits } as const;
        const { result, session } = await seat.run(request, () => [`from${user}`], never);
        const before = session.isNew ? 0 : ran.get(`${user}/${name}`);
        expect(result.result).toBe((before ?? NaN) + 1);
        ran.set(`${user}/${name}`, (before ?? NaN) + 1);
        expect(seat.taint.every((label) => label === `from${user}`)).toBe(true);
      };
      const unlessFull = (thrown: unknown): void => {
        if (!(thrown instanceof CapstanError) || !["session.too_many", "session.busy"].includes(thrown.code))
          throw thrown;
      };
      for (const round of rounds) {
        await Promise.all(
          round.map(async (one) => {
            if (one.type === "wait") clock.advance(one.ms);
            else if (one.type === "end") await sessions.end(owner(one.user), one.name);
            else await visit(one.user, one.name, one.code).catch(unlessFull);
          }),
        );
      }
      await sessions[Symbol.asyncDispose]();
      expect(counts).toMatchObject({ open: 0, wrong: 0 });
      expect(counts.most).toBeLessThanOrEqual(all);
    }),
    { numRuns: slowCases },
  );
});

test("closing waits until nothing is left of what was being ended for its time", async () => {
  await using home = await openTestArtifacts();
  const clock = handClock();
  const sessions = openTestSessions(home.store, clock, { idleMs });
  const [ending, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const told: string[] = [];
  const sandbox: Sandbox = {
    run: () => Promise.resolve(toResult(1, false)),
    async [Symbol.asyncDispose]() {
      ending.resolve();
      await ended.promise;
      told.push("ended");
    },
  };
  const open = () => Promise.resolve(sandbox);
  const visit = { ...owner(0), name: "a", language: "python", isNetworked: false, open } as const;
  await (await sessions.enter(visit, never))[Symbol.asyncDispose]();
  clock.advance(idleMs);
  const listing = sessions.list(owner(0));
  await ending.promise;
  const closing = sessions[Symbol.asyncDispose]().then(() => told.push("closed"));
  await sleep(20);
  ended.resolve();
  await Promise.all([listing, closing]);
  expect(told).toEqual(["ended", "closed"]);
});

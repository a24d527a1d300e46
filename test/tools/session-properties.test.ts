import * as fc from "fast-check";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { z } from "zod";
import { CapstanError } from "../../src/core/error.ts";
import { localScope } from "../../src/core/scope.ts";
import type { ExecResult, Sandbox } from "../../src/sandbox/engine.ts";
import type { Store } from "../../src/store/store.ts";
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
        const artifacts = [{ path: code, bytes: Buffer.from(code) }];
        return { ...toResult((variable += 1), isOver), artifacts };
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

const IdOf = z.looseObject({ id: z.string() });

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

/** A store that answers when it likes to: what is done at the same time interleaves. */
function withDelays(store: Store, seed: number): Store {
  let state = seed;
  const wait = async (): Promise<void> => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    for (let left = (state >> 8) % 3; left > 0; left -= 1) await new Promise((done) => setImmediate(done));
  };
  const delayed = async <T>(work: () => Promise<T>): Promise<T> => {
    await wait();
    const answer = await work();
    await wait();
    return answer;
  };
  return {
    ...store,
    record: (...args) => delayed(() => store.record(...args)),
    records: (...args) => delayed(() => store.records(...args)),
    commit: (...args) => delayed(() => store.commit(...args)),
  };
}

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
    fc.asyncProperty(
      fc.array(fc.array(step, { minLength: 1, maxLength: 6 }), { maxLength: 6 }),
      fc.nat(),
      async (rounds, seed) => {
        await using home = await openTestArtifacts();
        const clock = handClock();
        const { counts, open } = openCounted();
        const sessions = openTestSessions(withDelays(home.store, seed), clock, { each, all, idleMs, kept: 2 });
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
          // There is one.
          expect(session.note ?? "").not.toContain("process");
          ran.set(`${user}/${name}`, (before ?? NaN) + 1);
          expect(seat.taint.every((label) => label === `from${user}`)).toBe(true);
        };
        const unlessFull = (thrown: unknown): void => {
          if (!(thrown instanceof CapstanError) || !["session.too_many", "session.busy"].includes(thrown.code))
            throw thrown;
          expect(thrown.message).not.toContain("process");
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
        // Files belong to a session that is on record.
        const ids = (await home.store.records(localScope, "session")).map(({ value }) => IdOf.parse(value).id);
        const files = await home.store.records(localScope, "session-file");
        expect(files.filter(({ key }) => !ids.includes(key.split("/")[0] ?? ""))).toEqual([]);
        expect(counts.most).toBeLessThanOrEqual(all);
      },
    ),
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

test("a session keeps nothing of the call that began it but who that was", async () => {
  await using home = await openTestArtifacts();
  const { open } = openCounted();
  const sessions = openTestSessions(home.store);
  const enter = async (): Promise<WeakRef<object>> => {
    const visit = { ...owner(0), name: "a", language: "python", isNetworked: false, open } as const;
    await (await sessions.enter(visit, never))[Symbol.asyncDispose]();
    return new WeakRef(visit);
  };
  const visit = await enter();
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect !== "function") throw new Error("nothing collects garbage");
  const isCollected = (): boolean => {
    collect();
    return visit.deref() === undefined;
  };
  await expect.poll(isCollected).toBe(true);
  expect(await sessions.list(owner(0))).toMatchObject([{ variables: "here" }]);
  await sessions[Symbol.asyncDispose]();
});

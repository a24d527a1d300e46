import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Engine, ExecLimits, ExecRequest, ExecResult, ExecStatus, Language } from "../../src/sandbox/engine.ts";
import { tempFolder } from "../support/temp.ts";

const mebibyte = 1024 * 1024;

/** Limits of a run in tests, unless a case says otherwise. */
export const testLimits: ExecLimits = {
  wallMs: 10_000,
  cpuMs: 10_000,
  memoryBytes: 64 * mebibyte,
  outputBytes: 64 * 1024,
  resultBytes: 64 * 1024,
  artifactBytes: mebibyte,
  artifacts: 10,
  calls: 20,
};

/**
 * How much longer than its wall limit a run may take. The design says 250 ms; the rest is for a machine whose cores are shared with
 * other tests. `CAPSTAN_KILL_MS` tightens it where the machine is quiet.
 */
export const killMs = Number(process.env["CAPSTAN_KILL_MS"] ?? 2_000);

/** Runs one piece of code in a sandbox of its own. */
export async function runIn(
  engine: Engine,
  language: Language,
  code: string,
  over: Partial<Omit<ExecRequest, "limits">> & {
    readonly limits?: Partial<ExecLimits>;
    readonly signal?: AbortSignal;
  } = {},
): Promise<ExecResult> {
  const { limits, signal = new AbortController().signal, ...request } = over;
  await using sandbox = await engine.open({ language }, signal);
  return await sandbox.run({ language, code, files: [], ...request, limits: { ...testLimits, ...limits } }, signal);
}

/** What hostile code must neither see nor touch. */
export interface Canaries extends AsyncDisposable {
  /** A text that stands in the environment variable CANARY_ENV of this process and in the canary file, and nowhere else. */
  readonly secret: string;
  /** Absolute path of a file outside every sandbox. */
  readonly file: string;
  /** Absolute path where a file must never appear. */
  readonly absent: string;
  /** The port, on 127.0.0.1, of a TCP and of a UDP listener. */
  readonly port: number;
  /** How many TCP connections and UDP packets came in: the listener's own count, since a client's "connected" proves nothing. */
  touched(): number;
}

/** Plants the canaries: environment, file, listeners. Disposing removes them. */
async function plantCanaries(): Promise<Canaries> {
  await using planted = new AsyncDisposableStack();
  const folder = planted.use(await tempFolder());
  const secret = `canary-${crypto.randomUUID()}`;
  const file = join(folder.path, "canary.txt");
  writeFileSync(file, secret);
  process.env["CANARY_ENV"] = secret;
  planted.defer(() => void delete process.env["CANARY_ENV"]);
  let count = 0;
  const server = createServer((socket) => {
    count += 1;
    socket.destroy();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  planted.defer(() => new Promise<void>((resolve) => server.close(() => resolve())));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The canary listener has no port.");
  const packets = createSocket("udp4", () => (count += 1));
  packets.bind(address.port, "127.0.0.1");
  await once(packets, "listening");
  planted.defer(() => void packets.close());
  const owned = planted.move();
  return {
    secret,
    file,
    absent: join(folder.path, "touched.txt"),
    port: address.port,
    touched: () => count,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** One piece of hostile code and what must come of it. */
export interface HostileCase {
  /** Class and number, as in the catalogue of hostile code: `A1`. */
  readonly id: string;
  readonly title: string;
  readonly language: Language;
  readonly code: string | ((canaries: Canaries) => string);
  /** Which statuses are right. */
  readonly status: ExecStatus | readonly ExecStatus[];
  readonly limits?: Partial<ExecLimits>;
  readonly request?: Partial<Pick<ExecRequest, "files" | "onCall">>;
  /** What else must hold. */
  readonly check?: (result: ExecResult, canaries: Canaries) => void;
}

/**
 * Runs every case against a real engine. A case passes when it ends as it says, in time; when no canary was seen or touched; when this
 * process's memory comes back; and when the very next run answers 1+1 with 2.
 */
export function describeHostile(name: string, openEngine: () => Engine, cases: readonly HostileCase[]): void {
  describe(`${name}: hostile code`, () => {
    let engine: Engine;
    let canaries: Canaries;
    let baseline = 0;
    beforeAll(async () => {
      engine = openEngine();
      canaries = await plantCanaries();
      for (const language of engine.languages) await expectNextRun(engine, language);
      baseline = collectedRss();
    });
    afterAll(async () => {
      await engine[Symbol.asyncDispose]();
      await canaries[Symbol.asyncDispose]();
    });

    test.for(cases)("$id $language: $title", async ({ language, code, status, limits = {}, request, check }) => {
      const text = typeof code === "string" ? code : code(canaries);
      const result = await runIn(engine, language, text, { limits, ...request });
      expect(result).toSatisfy(({ status: was }: ExecResult) => [status].flat().includes(was));
      expect(result.usage.wallMs).toBeLessThan((limits.wallMs ?? testLimits.wallMs) + killMs);
      check?.(result, canaries);
      expectUntouched(canaries, result);
      await expectNextRun(engine, language);
      await expectMemoryBack(baseline);
    });
  });
}

/** Nothing of the canaries is in the result, and none was touched. */
function expectUntouched(canaries: Canaries, result: ExecResult): void {
  const { artifacts, ...rest } = result;
  const files = artifacts.map(({ path, bytes }) => path + Buffer.from(bytes).toString("latin1"));
  expect(JSON.stringify([rest, files])).not.toContain(canaries.secret);
  expect(readFileSync(canaries.file, "utf8")).toBe(canaries.secret);
  expect(existsSync(canaries.absent)).toBe(false);
  expect(canaries.touched()).toBe(0);
}

async function expectNextRun(engine: Engine, language: Language): Promise<void> {
  const { status, result, stdout, stderr } = await runIn(engine, language, "1+1");
  expect({ status, result, stdout, stderr }).toEqual({ status: "ok", result: 2, stdout: "", stderr: "" });
}

/** 20 % above what the process held before, or 48 MiB, which is what V8 and the allocator keep of their own accord. */
async function expectMemoryBack(baseline: number): Promise<void> {
  const allowed = baseline + Math.max(baseline * 0.2, 48 * mebibyte);
  const deadline = Date.now() + 10_000;
  while (collectedRss() > allowed && Date.now() < deadline) await sleep(50);
  expect(collectedRss()).toBeLessThan(allowed);
}

function collectedRss(): number {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect === "function") collect();
  return process.memoryUsage.rss();
}

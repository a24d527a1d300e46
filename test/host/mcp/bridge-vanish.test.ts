import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { bin, environment } from "../../support/capstan.ts";
import { testWith } from "../../support/machine.ts";
import { tempFolder } from "../../support/temp.ts";
import { type Front, openV1, openV2, type Reached } from "./bridge-fronts.ts";
import { official, openBridged } from "./bridge-support.ts";
import { aliveOf, processesIn } from "./connect-support.ts";

const forever = new Promise<void>(() => {});
const question = ["old__ask", { kinds: ["form"], rounds: 1 }] as const;
const Who = z.object({ seen: z.object({ open: z.int(), cancelled: z.int() }) });
const seenBy = async (front: Front) => Who.parse(JSON.parse(await front.call("old__who"))).seen;

describe.each(["2025", "2026"])("a client of %s at capstan serve", (era) => {
  testWith("linux")("that is gone while a question is open leaves no process behind", async () => {
    await using home = await tempFolder();
    const config = { mcp: { servers: { old: official("old") } } };
    await writeFile(join(home.path, "capstan.yaml"), JSON.stringify(config), { mode: 0o600 });
    const args = ["--home", home.path, "serve", "--allow", "old__*"];
    const child = spawn(process.execPath, [bin, ...args], { stdio: ["pipe", "pipe", "ignore"], env: environment });
    const exited = once(child, "exit");
    const to: Reached = { type: "pipes", toServer: child.stdin, fromServer: child.stdout };
    const answering = { thinking: forever };
    const front = era === "2025" ? await openV1(to, answering) : await openV2(to, "auto", answering);
    void front.call(...question).catch(() => {}); // A person who thinks for ever lets it never end at the client.
    await expect.poll(() => front.asked.length).toBe(1);
    const pids = await processesIn(home.path);
    expect(pids).toHaveLength(1);

    const start = performance.now();
    await front[Symbol.asyncDispose]();
    expect(await exited).toEqual([0, null]);
    expect(performance.now() - start).toBeLessThan(30_000);
    expect(await aliveOf(pids)).toEqual([]);
  });
});

test("a question that nobody answers keeps a call open no longer than the server's calls may take", async () => {
  await using bridged = await openBridged({ old: official("old", { timeoutMs: 3_000, totalTimeoutMs: 7_000 }) });
  await using other = await bridged.front("2025, v1, stdio");
  const thinking = Promise.withResolvers<void>();
  await using front = await bridged.front("2026, v2, HTTP", { thinking: thinking.promise });
  const call = front.call(...question);
  await expect.poll(() => front.asked.length).toBe(1);
  await expect.poll(() => seenBy(other)).toEqual({ open: 0, cancelled: 1 });
  thinking.resolve();
  expect(await call).toMatch(/^!mcp\.timeout: /);
  // The time that a person takes is no silence of the server.
  await using quick = await bridged.front("2026, v2, HTTP", {
    thinking: new Promise((resolve) => setTimeout(resolve, 3_500)),
  });
  expect(await quick.call(...question)).toContain('"size":4');
});

testWith("linux")("calls that wait for a person end with Capstan", async () => {
  const bridged = await openBridged({ old: official("old") });
  const front = await bridged.front("2026, v2, HTTP", { thinking: forever });
  void front.call(...question).catch(() => {});
  await expect.poll(() => front.asked.length).toBe(1);
  const pids = await processesIn(bridged.home);
  const start = performance.now();
  await bridged[Symbol.asyncDispose]();
  expect(performance.now() - start).toBeLessThan(30_000);
  expect([pids.length, await aliveOf(pids)]).toEqual([1, []]);
});

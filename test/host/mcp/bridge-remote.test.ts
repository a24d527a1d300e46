import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { kinds } from "./bridge-asked.ts";
import type { Front } from "./bridge-fronts.ts";
import { type Bridged, openBridged, programs } from "./bridge-support.ts";

const Address = z.object({ port: z.int() });
const Who = z.object({ seen: z.object({ open: z.int(), cancelled: z.int() }) });
const seenBy = async (front: Front) => Who.parse(JSON.parse(await front.call("far__who"))).seen;

/** A server of its own process at a port, 0: a free one. */
async function startRemote(era: keyof typeof programs, port = 0) {
  const child = spawn(process.execPath, [programs[era], String(port)], { stdio: ["ignore", "pipe", "ignore"] });
  const exited = once(child, "exit");
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  return {
    port: Address.parse(JSON.parse(String(line))).port,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

describe.each(["old", "new"] as const)("a server behind over HTTP (%s)", (era) => {
  let remote: Awaited<ReturnType<typeof startRemote>>;
  let bridged: Bridged;
  beforeEach(async () => {
    remote = await startRemote(era);
    const far = { url: `http://127.0.0.1:${remote.port}/mcp`, private: true, timeoutMs: 2_000 };
    bridged = await openBridged({ far });
  });
  afterEach(async () => {
    await bridged[Symbol.asyncDispose]();
    await remote[Symbol.asyncDispose]();
  });

  test.each(["2025, v1, stdio", "2026, v2, HTTP"] as const)(
    "asks, tells and is cancelled by a client (%s)",
    async (kind) => {
      await using front = await bridged.front(kind, { action: "cancel" });
      const told = JSON.parse(await front.call("far__ask", { kinds, rounds: 2 }));
      expect(told).toMatchObject([{ form: { action: "cancel" } }, { url: { action: "cancel" } }]);
      expect(front.asked).toHaveLength(2 * kinds.length);

      const steps: unknown[] = [];
      await front.call("far__steps", { steps: 2 }, { onprogress: (step) => void steps.push(step) });
      expect(steps[0]).toEqual({ progress: 1, total: 2, message: "step 1" });
      await expect.poll(() => front.logs).toHaveLength(2);

      const controller = new AbortController();
      const call = front.call("far__hang", {}, { signal: controller.signal });
      await expect.poll(async () => (await seenBy(front)).open).toBe(1);
      controller.abort();
      await expect(call).rejects.toThrow(/abort/i);
      await expect.poll(() => seenBy(front)).toMatchObject({ open: 0, cancelled: 1 });
    },
  );

  test("knows whose each question is, also when one user's calls ask at once", async () => {
    const fronts = await Promise.all([1, 2, 3].map((size) => bridged.front("2026, v2, HTTP", { size })));
    const told = await Promise.all(fronts.map((front) => front.call("far__ask", { kinds: ["form"], rounds: 3 })));
    const answer = (size: number) => ({ form: { action: "accept", content: { size } } });
    expect(told.map((text) => JSON.parse(text))).toEqual([1, 2, 3].map((size) => Array(3).fill(answer(size))));
    await Promise.all(fronts.map((front) => front[Symbol.asyncDispose]()));
  });

  test("tells what changed", async () => {
    await using older = await bridged.front("2025, v1, HTTP");
    await using newer = await bridged.front("2026, v2, stdio");
    const uri = "far+note://a";
    await Promise.all([older.listen(uri), newer.listen(uri)]);
    await older.call("far__grow");
    await older.call("far__touch", { uri: "note://a" });
    const heard = [uri, "prompts", "resources", "tools"];
    for (const front of [older, newer]) {
      await expect.poll(() => [...new Set(front.heard)].sort()).toEqual(heard);
    }
  });

  test("that dies ends the call, typed and in time, and is used again once it is back", async () => {
    await using front = await bridged.front("2025, v1, stdio");
    const call = front.call("far__hang");
    await expect.poll(async () => (await seenBy(front)).open).toBe(1);
    await remote[Symbol.asyncDispose]();
    const start = performance.now();
    expect(await call).toMatch(/^!mcp\.server_gone: /);
    expect(await front.call("far__who")).toMatch(/^!mcp\./);
    expect(performance.now() - start).toBeLessThan(30_000);
    expect(await front.tools()).toContain("far__who");
    remote = await startRemote(era, remote.port);
    await expect.poll(() => front.call("far__who")).toMatch(/"open":0/);
  });
});

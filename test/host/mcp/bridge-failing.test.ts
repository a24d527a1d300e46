import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { ToolResult } from "../../../src/tools/result.ts";
import { tempFolder } from "../../support/temp.ts";
import { openBridgedApp, textOf, withSdk } from "./bridged-app.ts";
import { isAlive } from "./connect-support.ts";

const offer = {
  tools: ["child", "exit", "hang", "pid"].map((name) => ({ name })),
  resources: [{ uri: "note://b", name: "b" }],
};
const names = ["a__child", "a__exit", "a__hang", "a__pid", "b__child", "b__exit", "b__hang", "b__pid"];

/** Two servers, each with tools that tell and end its process, in a home of their own. */
async function openTwo(more: object = {}) {
  await using opened = new AsyncDisposableStack();
  const folder = async (): Promise<string> => opened.use(await tempFolder()).path;
  const [home, a, b] = [await folder(), await folder(), await folder()];
  for (const path of [a, b]) await writeFile(join(path, "offer.json"), JSON.stringify(offer));
  const servers = { a: withSdk(a, more), b: withSdk(b) };
  const app = opened.use(await openBridgedApp(servers, { home }));
  const owned = opened.move();
  return { ...app, servers, folderOfA: a, folderOfB: b, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const codeOf = (result: ToolResult): string => /^([a-z_]+\.[a-z_]+): /.exec(textOf(result))?.[1] ?? "none";

describe("a server behind that fails", () => {
  test("takes nothing away but its own calls, and comes back by itself", async () => {
    await using two = await openTwo();
    await two.ready();
    const before = { a: textOf(await two.call("a__pid")), b: textOf(await two.call("b__pid")) };
    const dying = await two.call("a__exit");
    expect(dying.isError).toBe(true);
    expect(codeOf(dying)).toBe("mcp.server_gone");
    expect(two.names()).toEqual(names);
    expect(textOf(await two.call("b__pid"))).toBe(before.b);

    // Nobody calls it: it is there again all the same.
    await expect.poll(() => two.lines.filter((line) => line.startsWith("mcp a: stderr: started"))).toHaveLength(2);
    const after = textOf(await two.call("a__pid"));
    expect(after).toMatch(/^\d+$/);
    expect(after).not.toBe(before.a);
    expect(textOf(await two.call("b__pid"))).toBe(before.b);
  });

  test("keeps its tools listed while it is away, whose calls end typed, and is taken up when it works", async () => {
    await using two = await openTwo({ startTimeoutMs: 20_000 });
    await two.ready();
    await writeFile(join(two.folderOfA, "broken"), "");
    await two.call("a__exit");
    const failed = await two.call("a__pid");
    expect([failed.isError, codeOf(failed)]).toEqual([true, "mcp.start_failed"]);
    expect(two.names()).toContain("a__pid");
    expect(textOf(await two.call("b__pid"))).toMatch(/^\d+$/);
    await rm(join(two.folderOfA, "broken"));
    await expect.poll(async () => codeOf(await two.call("a__pid"))).toBe("none");
  });

  test("is known by its pins to a Capstan that starts while it is away", async () => {
    await using two = await openTwo();
    await two.ready();
    await writeFile(join(two.folderOfA, "broken"), "");
    await using later = await openBridgedApp(two.servers, { home: two.home });
    const begun = performance.now();
    await later.ready("start");
    expect(performance.now() - begun).toBeLessThan(10_000);
    expect(later.names()).toEqual(names);
    expect(codeOf(await later.call("a__pid"))).toMatch(/^mcp\.(start_failed|server_gone)$/);
    expect(textOf(await later.call("b__pid"))).toMatch(/^\d+$/);
  });

  test("holds up no list of resources or prompts for longer than it may take to start", async () => {
    await using two = await openTwo({ startTimeoutMs: 8_000 });
    await writeFile(join(two.folderOfA, "offer.json"), JSON.stringify({ tools: [], isSlow: true }));
    await two.ready();
    for (const waitsAtMost of [30_000, 4_000]) {
      const begun = performance.now();
      const listed = await two.app.door.listResources(two.reading());
      expect(listed.map(({ uri }) => uri).filter((uri) => /^[ab]\+/.test(uri))).toEqual(["b+note://b"]);
      expect(performance.now() - begun).toBeLessThan(waitsAtMost);
    }
    expect(two.faults).toMatchObject([{ code: "mcp.timeout" }]);
  });

  test("is over at once for a call that is cancelled, and within its time for one that hangs", async () => {
    await using two = await openTwo({ timeoutMs: 2_000 });
    await two.ready();
    const begun = performance.now();
    const late = await two.call("a__hang");
    expect([late.isError, codeOf(late)]).toEqual([true, "mcp.timeout"]);
    expect(performance.now() - begun).toBeLessThan(30_000);

    const ending = new AbortController();
    const call = two.call("b__hang", {}, { signal: ending.signal });
    setTimeout(() => ending.abort(), 300);
    await expect(call).rejects.toMatchObject({ code: "tool.cancelled" });
    await expect.poll(() => existsSync(join(two.folderOfB, "cancelled"))).toBe(true);
    expect(textOf(await two.call("b__pid"))).toMatch(/^\d+$/);
  });

  test("is not waited for by a call for longer than its time while it starts", async () => {
    await using two = await openTwo();
    await two.ready();
    await writeFile(join(two.folderOfA, "silent"), "");
    const servers = { ...two.servers, a: withSdk(two.folderOfA, { timeoutMs: 500 }) };
    await using later = await openBridgedApp(servers, { home: two.home });
    const begun = performance.now();
    expect(codeOf(await later.call("a__pid"))).toBe("mcp.timeout");
    expect(performance.now() - begun).toBeLessThan(8_000);
  });

  test("has ended with all that it started when Capstan has", async () => {
    const two = await openTwo();
    await two.ready();
    const pids = await Promise.all(
      ["a__pid", "a__child", "b__pid"].map(async (name) => Number(textOf(await two.call(name)))),
    );
    for (const pid of pids) expect(await isAlive(pid)).toBe(true);
    const begun = performance.now();
    await two[Symbol.asyncDispose]();
    expect(performance.now() - begun).toBeLessThan(30_000);
    for (const pid of pids) expect(await isAlive(pid)).toBe(false);
  });
});

import { expect, test } from "vitest";
import { testWith } from "../../support/machine.ts";
import { aliveOf, byHand, codeOf, openTestConnection, processesIn, until } from "./connect-support.ts";

// Every call ends typed within its timeout and what a busy machine takes, and another server is none the worse for it.
test.each([
  ["exits", "exit", {}, "mcp.server_gone"],
  ["hangs", "hang", {}, "mcp.timeout"],
  ["blocks and reads nothing", "freeze", {}, "mcp.timeout"],
  ["answers under a wrong id", "wrong-id", { ends: false }, "mcp.timeout"],
  ["answers late", "late", { ms: 4_500 }, "mcp.timeout"],
])("a server that %s", async (_, tool, args, code) => {
  await using neighbour = await openTestConnection(byHand(["modern"]));
  await using connection = await openTestConnection(byHand(["legacy"]));
  await Promise.all([neighbour.text("echo"), connection.text("echo")]);
  const start = Date.now();
  const calls = [1, 2, 3].map(() => codeOf(connection.text(tool, args, { timeoutMs: 3_000 })));
  const unaffected = neighbour.text("progress", { steps: 5, everyMs: 100 });
  expect(await Promise.all(calls)).toEqual([code, code, code]);
  expect(Date.now() - start).toBeLessThan(30_000);
  expect(await unaffected).toBe("done");
});

test("a server that ends right after its answer is not lost with it", async () => {
  await using connection = await openTestConnection(byHand(["legacy"]));
  expect(await connection.text("exit-after-answer")).toBe("last words");
  await until(() => connection.era() === undefined);
  expect(await connection.text("echo", { text: "back" })).toBe("back");
});

test("a server that floods stderr is heard to the end, in bounded log lines", async () => {
  await using connection = await openTestConnection(byHand(["legacy"], { timeoutMs: 30_000 }));
  expect(await connection.text("flood", { megabytes: 50 })).toBe("flooded");
  expect(connection.lines.length).toBeLessThan(1_000);
  expect(Math.max(...connection.lines.map(({ length }) => length))).toBeLessThan(700);
});

test("1 GB on one line is dropped as it comes: the call ends typed, the memory stays, the server goes on", async () => {
  await using connection = await openTestConnection(byHand(["legacy"], { timeoutMs: 60_000 }));
  await connection.text("echo");
  const before = process.memoryUsage();
  let peak = 0;
  const watch = setInterval(() => {
    const { rss } = process.memoryUsage();
    peak = Math.max(peak, rss - before.rss);
  }, 20);
  const call = codeOf(connection.text("one-line", { megabytes: 1_000 }));
  expect(await call.finally(() => clearInterval(watch))).toBe("mcp.protocol");
  expect(peak).toBeLessThan(300_000_000);
  expect(await connection.text("echo", { text: "on" })).toBe("on");
  expect(connection.starts()).toBe(1);
});

for (const bubblewrap of ["never", "auto"]) {
  const title = `nothing outlives its connection, whatever ignores SIGTERM (bubblewrap: ${bubblewrap})`;
  testWith("linux")(title, async () => {
    const connection = await openTestConnection(byHand(["legacy"], { bubblewrap }));
    await connection.text("children");
    await until(async () => (await processesIn(connection.home)).length >= 3);
    const pids = await processesIn(connection.home);
    const start = Date.now();
    await connection[Symbol.asyncDispose]();
    expect(Date.now() - start).toBeLessThan(30_000);
    expect(await aliveOf(pids)).toEqual([]);
  });
}

testWith("linux")("the children of a server that crashed end before it is started again", async () => {
  await using connection = await openTestConnection(byHand(["legacy"]));
  await connection.text("children");
  await until(async () => (await processesIn(connection.home)).length >= 3);
  const pids = await processesIn(connection.home);
  expect(await codeOf(connection.text("exit"))).toBe("mcp.server_gone");
  expect(await connection.text("echo", { text: "back" })).toBe("back");
  expect(await aliveOf(pids)).toEqual([]);
});

test("a server that always crashes is started ever more rarely", async () => {
  const config = { command: "sh", args: ["-c", "echo started >&2; exit 1"], bubblewrap: "never" };
  await using connection = await openTestConnection(config, { isHeard: true });
  await expect(connection.text("echo")).rejects.toMatchObject({
    code: "mcp.start_failed",
    message: expect.stringContaining("ended with exit code 1 before it was ready"),
  });
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  // Twice for each try: at once, and after 250, 500 and 1,000 ms.
  expect(connection.starts()).toBeGreaterThanOrEqual(4);
  expect(connection.starts()).toBeLessThanOrEqual(8);
});

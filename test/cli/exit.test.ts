import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { delta, openSseServer, sseHead, toSse } from "../host/sse-server.ts";
import { bin, capstan, compiled, environment } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

const server = fileURLToPath(new URL("stubborn-server.ts", import.meta.url));

/** Capstan with a stubborn server behind, whose stdin stays open until the test ends it. */
function start(home: string, args: readonly string[]) {
  const child = spawn(process.execPath, [bin, "--home", home, ...args], {
    env: environment,
    timeout: 100_000,
    killSignal: "SIGKILL",
  });
  const closed = new Promise<number | null>((resolve, reject) => child.on("error", reject).on("exit", resolve));
  const said = Promise.all([text(child.stdout), text(child.stderr)]);
  return {
    kill: (signal: NodeJS.Signals): boolean => child.kill(signal),
    endInput: (): void => void child.stdin.end(),
    ended: closed.then(async (code) => {
      const [stdout, stderr] = await said;
      return { code, stdout, stderr };
    }),
  };
}

/** A home whose config names the server; `pid` is of its process, once it runs. */
async function openHome() {
  const home = await tempFolder();
  const file = join(home.path, "stubborn.pid");
  const entry = { command: process.execPath, args: [server, file], env: compiled, bubblewrap: "never" };
  writeFileSync(join(home.path, "capstan.yaml"), JSON.stringify({ mcp: { servers: { by: entry } } }));
  return {
    path: home.path,
    isCalled: () => existsSync(`${file}.called`),
    pid: () => Number(readFileSync(file, "utf8")),
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

const hang = ["run", "by__hang {}", "--allow", "by__hang"];

test("a run goes on when nobody reads what it tells any more", async () => {
  await using home = await tempFolder();
  const args = ["--home", home.path, "run", "show me all my tasks"];
  const child = spawn(process.execPath, [bin, ...args], { env: environment, timeout: 60_000, killSignal: "SIGKILL" });
  child.stderr.destroy();
  child.stdin.end();
  const code = new Promise((resolve, reject) => child.on("error", reject).on("exit", resolve));
  expect([await text(child.stdout), await code]).toEqual(["There are no todos.\n", 0]);
});

test("a run whose answer nobody reads any more stops in order, and can be resumed", async () => {
  await using home = await tempFolder();
  const gone = Promise.withResolvers<void>();
  await using story = await openSseServer(async (response) => {
    response.writeHead(200, sseHead).write(toSse([delta({ content: "Once upon " })], false));
    await gone.promise;
    const timer = setInterval(() => response.write(toSse([delta({ content: "a time " })], false)), 20);
    response.on("close", () => clearInterval(timer));
  });
  const model = ["--model", "openai-compatible:m", "--base-url", story.baseUrl];
  const args = ["--home", home.path, "run", "tell", "--jsonl", ...model];
  const child = spawn(process.execPath, [bin, ...args], { env: environment, timeout: 60_000, killSignal: "SIGKILL" });
  child.stdin.end();
  const said = text(child.stderr);
  child.stdout.on("data", (part: Buffer) => {
    if (!part.includes("text.delta")) return;
    child.stdout.destroy();
    gone.resolve();
  });
  const code = await new Promise((resolve, reject) => child.on("error", reject).on("exit", resolve));
  expect([code, await said]).toEqual([130, expect.stringMatching(/cancelled, .* runs resume run_\w+\n$/)]);
});

test.skipIf(!existsSync("/dev/full"))(
  "a run whose events find no room stops in order, and can be resumed",
  async () => {
    await using home = await tempFolder();
    await using silent = await openSseServer(() => {});
    const model = ["--model", "openai-compatible:m", "--base-url", silent.baseUrl];
    const args = [process.execPath, bin, "--home", home.path, "run", "tell", "--jsonl", ...model];
    const child = spawn("sh", ["-c", 'exec "$@" > /dev/full', "sh", ...args], {
      env: environment,
      timeout: 60_000,
      killSignal: "SIGKILL",
    });
    child.stdin.end();
    const code = new Promise((resolve, reject) => child.on("error", reject).on("exit", resolve));
    const said = await text(child.stderr);
    expect([await code, said]).toEqual([1, expect.stringMatching(/ENOSPC[^]*cancelled, .* runs resume run_\w+\n$/)]);
  },
);

test("a token on stdin is no context, and nothing is waited for after it", async () => {
  await using home = await tempFolder();
  const { stdout: stdin } = await capstan(home.path, ["grant", "create", "--allow", "calculator"]);
  const ended = await capstan(home.path, ["--grant", "-", "run", "calculate 6 * 7", "--json"], { stdin });
  expect(ended.code, ended.stderr).toBe(0);
  expect(JSON.parse(ended.stdout)).toMatchObject({ status: "done", taint: [] });
  expect(await capstan(home.path, ["--grant", "-", "chat"], { stdin })).toMatchObject({ code: 0, stdout: "" });
});

describe("capstan run always ends, and takes with it what it started", () => {
  test("a run that is done, with a server that ignores its end", async () => {
    await using home = await openHome();
    const run = start(home.path, ["run", "show me all my tasks"]);
    run.endInput();
    expect(await run.ended).toMatchObject({ code: 0 });
    await expect.poll(() => isAlive(home.pid())).toBe(false);
  });

  test.each(["SIGINT", "SIGTERM"] as const)("%s while a tool hangs that ignores being cancelled", async (signal) => {
    await using home = await openHome();
    const run = start(home.path, hang);
    run.endInput();
    await expect.poll(home.isCalled).toBe(true);
    run.kill(signal);
    const { code, stdout, stderr } = await run.ended;
    expect({ code, stdout }).toEqual({ code: 130, stdout: "" });
    expect(stderr).toMatch(/Go on with: capstan .* runs resume run_[0-9a-f]+ --allow by__hang\n$/);
    await expect.poll(() => isAlive(home.pid())).toBe(false);
  });

  test("the second Ctrl-C, at once, and nothing of the server is left", async () => {
    await using home = await openHome();
    const run = start(home.path, hang);
    run.endInput();
    await expect.poll(home.isCalled).toBe(true);
    run.kill("SIGINT");
    run.kill("SIGTERM");
    expect(await run.ended).toMatchObject({ code: 130, stdout: "" });
    await expect.poll(() => isAlive(home.pid())).toBe(false);
  });

  test("a stdin that stays open: Ctrl-C ends the waiting for it, and so does the run's own time", async () => {
    await using home = await tempFolder();
    // More than a timer of Node holds.
    const waiting = start(home.path, ["run", "show me all my tasks", "--timeout", "40d"]);
    const late = start(home.path, ["run", "show me all my tasks", "--timeout", "4s"]);
    const { code, stderr } = await late.ended;
    expect(code).toBe(5);
    expect(stderr).toContain("stdin stayed open for the 4000 ms");
    waiting.kill("SIGINT");
    expect(await waiting.ended).toMatchObject({ code: 130, stdout: "" });
  });
});

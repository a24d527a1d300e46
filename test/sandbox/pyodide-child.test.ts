import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { ExecLimits, ExecResult, Isolation } from "../../src/sandbox/engine.ts";
import { conduct, takeGuest } from "../../src/sandbox/process/conduct.ts";
import { startGuest } from "../../src/sandbox/process/start.ts";
import { launch } from "../../src/sandbox/pyodide/launch.ts";
import { tempFolder } from "../support/temp.ts";
import { testLimits } from "./hostile.ts";

const isolation: Isolation = { engine: "pyodide", level: "wasm-in-child", network: "none" };
const never = new AbortController().signal;

/** What a child is that was taken over: a program of our own, started as the real one is, with the order in hand. */
const prelude = `
import { readSync, writeSync } from "node:fs";
const say = (line) => {
  const bytes = Buffer.from(typeof line === "string" ? line : JSON.stringify(line) + "\\n");
  for (let at = 0; at < bytes.length; ) at += writeSync(3, bytes, at);
};
say({ type: "ready" });
const chunk = Buffer.alloc(1 << 20);
const order = JSON.parse(chunk.toString("utf8", 0, readSync(3, chunk)));
const end = (over) =>
  say({ type: "done", nonce: order.nonce, status: "ok", resultJson: "1", stdoutBytes: 0, stderrBytes: 0, ...over });
const file = (path, data = "eA==") => say({ type: "artifact", nonce: order.nonce, path, data });
const call = (id) => say({ type: "call", nonce: order.nonce, id, name: "echo", argsJson: "{}", blocking: false });
setInterval(() => undefined, 1_000);
`;

async function runChild(program: string, limits: Partial<ExecLimits> = {}): Promise<ExecResult> {
  await using folder = await tempFolder();
  writeFileSync(join(folder.path, "main.mjs"), prelude + program);
  const files = { pyodide: folder.path, made: folder.path, libraries: [] };
  const started = await startGuest(() => launch(files, "plain"), "plain", never);
  if (!("guest" in started)) throw new Error("A plain process needs no bubblewrap.");
  const request = {
    language: "python",
    code: "",
    files: [],
    limits: { ...testLimits, ...limits },
    onCall: () => Promise.resolve("x".repeat(1_000_000)),
  } as const;
  const result = await conduct(takeGuest(started.guest, false), request, isolation, never);
  await started.guest.gone;
  return result;
}

test("a child in form is believed", async () => {
  const result = await runChild(
    `writeSync(1, "out"); writeSync(5, "err"); file("a/b.txt"); end({ stdoutBytes: 3, stderrBytes: 3 })`,
  );
  expect(result).toMatchObject({ status: "ok", stdout: "out", stderr: "err", result: 1 });
  expect(result.artifacts).toEqual([{ path: "a/b.txt", bytes: Buffer.from("x") }]);
});

test.for([
  ["no JSON", `say("hello\\n")`],
  ["no frame", `say({ type: "done", nonce: order.nonce, status: "denied" })`],
  ["a frame with more in it", `end({ exitCode: 0 })`],
  ["a frame without the nonce", `end({ nonce: undefined })`],
  ["a frame with the nonce of another run", `end({ nonce: "7a0ab1e6-8f5c-4a12-9d3a-3f1b4d8c2f11" })`],
  ["a second ready", `say({ type: "ready" })`],
  ["a line of 64 MiB", `say("x".repeat(1 << 26))`],
  ["a result that is no JSON", `end({ resultJson: "{" })`],
  ["files without end", `for (;;) file("../evil")`],
  ["calls whose answers it never reads", `for (let id = 1; ; id += 1) call(id)`],
  ["its end, with nothing said", `process.exit(0)`],
] as const)("a child that gives %s has crashed", async ([, program]) => {
  const { status, result, artifacts } = await runChild(program);
  expect({ status, result, artifacts }).toEqual({ status: "crashed", result: null, artifacts: [] });
});

test.for([
  ["too long", `end({ resultJson: JSON.stringify("x".repeat(1 << 17)) })`],
  ["too deep", `end({ resultJson: "[".repeat(30_000) + "]".repeat(30_000) })`],
] as const)("a result that is %s is refused", async ([, program]) => {
  expect(await runChild(program)).toMatchObject({ status: "output", result: null });
});

test("a child that promises more output than it sends is timed out", async () => {
  expect(await runChild(`end({ stdoutBytes: 1e9 })`, { wallMs: 300 })).toMatchObject({
    status: "timeout",
    result: null,
  });
});

test("a child whose runtime is out of memory says so", async () => {
  const program = `writeSync(2, "FATAL ERROR: JavaScript heap out of memory\\n"); process.exit(1)`;
  expect(await runChild(program)).toMatchObject({ status: "memory" });
});

test("files past their limits and under wrong names are refused", async () => {
  const { artifacts, resultNote } = await runChild(
    `for (const path of ["good", "good", "../evil", "/etc/evil", "a\\nb"]) file(path);
    file("large", Buffer.alloc(2_000).toString("base64")); file("last"); file("beyond"); end({})`,
    { artifacts: 2, artifactBytes: 1_000 },
  );
  expect(artifacts.map(({ path }) => path)).toEqual(["good", "last"]);
  expect(resultNote).toContain("6 of /out were refused");
});

test("a child that never gets ready is told", async () => {
  await using folder = await tempFolder();
  writeFileSync(join(folder.path, "main.mjs"), "process.exit(3)");
  const files = { pyodide: folder.path, made: folder.path, libraries: [] };
  const booting = startGuest(() => launch(files, "plain"), "plain", never);
  await expect(booting).rejects.toMatchObject({ code: "sandbox.unavailable" });
});

test("a child reads nothing but the folders that it starts from, and starts nothing", async () => {
  const { result } = await runChild(`
    import { readFileSync, readdirSync } from "node:fs";
    import { spawnSync } from "node:child_process";
    import { Worker } from "node:worker_threads";
    const attempt = (work) => { try { work(); return "reached"; } catch (error) { return error.code ?? error.name; } };
    const own = attempt(() => readFileSync(import.meta.filename));
    const tried = [
      () => readFileSync("/etc/passwd"), () => readdirSync("/"), () => spawnSync("true"), () => new Worker("0", { eval: true }),
      () => process.binding("fs"), () => new Function("return 1")(), () => writeSync(0, "x"),
    ].map(attempt);
    end({ resultJson: JSON.stringify([own, ...tried, Object.keys(process.env).filter((name) => name !== "PWD")]) })`);
  expect(result).toEqual([
    "reached",
    ...Array.from({ length: 5 }, () => "ERR_ACCESS_DENIED"),
    "EvalError",
    "EBADF",
    [],
  ]);
});

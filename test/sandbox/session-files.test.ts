import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import { openDockerEngine } from "../../src/sandbox/docker.ts";
import type { Engine, Language, SandboxFile } from "../../src/sandbox/engine.ts";
import { dockerSocket, testImage } from "../support/docker.ts";
import { testWith } from "../support/machine.ts";
import { testLimits } from "./hostile.ts";
import { openPython } from "./python.ts";

const mebibyte = 1024 * 1024;
const toFile = (path: string, bytes = 1): SandboxFile => ({ path, bytes: Buffer.alloc(bytes, 7) });
const never = new AbortController().signal;

/** Makes runs of one session, with room in memory for all its files, and gives what came of each. */
async function runAll(
  opening: Engine | Promise<Engine>,
  language: Language,
  runs: readonly (readonly [code: string, ...files: SandboxFile[]])[],
): Promise<unknown> {
  await using engine = await opening;
  await using session = await engine.open({ language, isSession: true }, never);
  const limits = { ...testLimits, memoryBytes: 512 * mebibyte };
  const ran: unknown[] = [];
  for (const [code, ...files] of runs) {
    const { status, result, error } = await session.run({ language, code, files, limits }, never);
    ran.push(error === undefined ? [status, result] : [status, error]);
  }
  return ran;
}

async function openContainers(): Promise<Engine> {
  const options = { cacheDir: tmpdir(), socket: dockerSocket, memoryBytes: 512 * mebibyte, warm: 0 };
  return openDockerEngine({ ...options, image: await testImage() });
}

const stands = /something of an earlier call stands there/;
/** The second call has a folder where the first put a file. */
const misplaced = [["1", toFile("data")], ["2", toFile("data/a.csv")], ["3"]] as const;
const refused = [
  ["ok", 1],
  ["error", expect.stringMatching(stands)],
  ["ok", 3],
];

test("a file that does not fit to those of an earlier call is an error of that call alone, in Pyodide", async () => {
  expect(await runAll(openPython(), "python", misplaced)).toEqual(refused);
});

testWith("bubblewrap")("a file that does not fit is an error of that call alone, in bubblewrap", async () => {
  expect(await runAll(openBubblewrapEngine(), "python", misplaced)).toEqual(refused);
  const bash = misplaced.map(([result, ...files]) => [`result=${result}`, ...files] as const);
  expect(await runAll(openBubblewrapEngine(), "bash", bash)).toEqual(refused);
  expect(await runAll(openBubblewrapEngine(), "javascript", misplaced)).toEqual([
    ["ok", 1],
    ["error", expect.stringMatching(/^Error: E/)],
    ["ok", 3],
  ]);
});

testWith("bubblewrap")("files for which there is no room are an error of that call alone", async () => {
  const fill = `import os\nwith open("/in/fill", "wb") as file: os.posix_fallocate(file.fileno(), 0, 255 << 20)\n1`;
  const runs = [[fill], ["2", toFile("a", 2 * mebibyte)], [`os.unlink("/in/fill")`], ["3", toFile("a")]] as const;
  expect(await runAll(openBubblewrapEngine(), "python", runs)).toEqual([
    ["ok", 1],
    ["error", expect.stringContaining("no room")],
    ["ok", null],
    ["ok", 3],
  ]);
});

testWith("bubblewrap")("code that lowers its own limit of memory for good ends as it would", async () => {
  const lower = `import resource\nresource.setrlimit(resource.RLIMIT_DATA, (1 << 34, 1 << 34))\n1`;
  expect(await runAll(openBubblewrapEngine(), "python", [[lower], ["2"]])).toEqual([
    ["ok", 1],
    ["ok", 2],
  ]);
});

testWith("docker")("a container refuses more files than it has room for, and its session goes on", async () => {
  await using engine = await openContainers();
  await using session = await engine.open({ language: "python", isSession: true }, never);
  const request = { language: "python", limits: testLimits, files: [] } as const;
  expect(await session.run({ ...request, code: "count = 1" }, never)).toMatchObject({ status: "ok" });
  const files = ["a", "b"].map((path) => toFile(path, 49 * mebibyte));
  await expect(session.run({ ...request, code: "2", files }, never)).rejects.toMatchObject({
    code: "sandbox.bad_request",
    message: expect.stringContaining("96 MiB"),
  });
  expect(await session.run({ ...request, code: "count" }, never)).toMatchObject({ status: "ok", result: 1 });
});

testWith("docker")("a file that does not fit is an error of that call alone, in a container", async () => {
  expect(await runAll(openContainers(), "python", misplaced)).toEqual(refused);
});

testWith("bubblewrap")(
  "a script that finds no place to start in is an error of its own call, in bubblewrap",
  async () => {
    const runs = [["rm -rf /tmp/.capstan; : >/tmp/.capstan"], ["result=2"], ["result=3"]] as const;
    const blocked = ["error", expect.stringMatching(/^The script can't be started: .*File exists/)];
    expect(await runAll(openBubblewrapEngine(), "bash", runs)).toEqual([["ok", null], blocked, blocked]);
  },
);

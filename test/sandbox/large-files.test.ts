import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import { SandboxConfig, toExecLimits, toInputBytes } from "../../src/sandbox/config.ts";
import { openDockerEngine } from "../../src/sandbox/docker.ts";
import type { Engine, Language } from "../../src/sandbox/engine.ts";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { dockerSocket, testImage } from "../support/docker.ts";
import { testWith } from "../support/machine.ts";
import { runIn } from "./hostile.ts";
import { openPython } from "./python.ts";

const config = SandboxConfig.parse({});
const limits = { ...toExecLimits(config), wallMs: 60_000, cpuMs: 60_000 };
const inBytes = toInputBytes(config);
const outBytes = 15 * 1024 * 1024;
const [javascript, python] = [
  `files.write("out", new Uint8Array(${outBytes}).fill(7)); files.readBytes("in").length`,
  `open("out", "wb").write(b"\\7" * ${outBytes}); len(open("/in/in", "rb").read())`,
];

/** What comes of a run that takes as much as the config allows unless it says else: its end, and how many right bytes came out. */
async function takeLarge(engine: Engine, language: Language, code: string): Promise<object> {
  await using opened = engine;
  const bytes = Buffer.alloc(inBytes, 7);
  const { status, result, artifacts } = await runIn(opened, language, code, { files: [{ path: "in", bytes }], limits });
  return { status, result, out: artifacts.map((file) => file.bytes.filter((byte) => byte === 7).length) };
}
const taken = { status: "ok", result: inBytes, out: [outBytes] };

test("64 MiB go into QuickJS, and 15 come out", async () => {
  expect(await takeLarge(openQuickjsEngine(), "javascript", javascript)).toEqual(taken);
});

test("64 MiB go into Pyodide, and 15 come out", async () => {
  expect(await takeLarge(openPython({ warm: 0 }), "python", python)).toEqual(taken);
});

testWith("bubblewrap")("64 MiB go into bubblewrap, and 15 come out", async () => {
  expect(await takeLarge(openBubblewrapEngine(), "python", python)).toEqual(taken);
  expect(await takeLarge(openBubblewrapEngine(), "javascript", javascript)).toEqual(taken);
});

testWith("bubblewrap")("what goes in takes its own room there, and none of Capstan's", async () => {
  await using engine = openBubblewrapEngine({ warm: 0 });
  const files = [{ path: "in", bytes: Buffer.alloc(inBytes, 7) }];
  const used = (): number => process.memoryUsage().heapUsed + process.memoryUsage().external;
  const before = used();
  let most = before;
  const meter = setInterval(() => (most = Math.max(most, used())), 2);
  const small = { ...limits, memoryBytes: 16 * 1024 * 1024 };
  const { status, result } = await runIn(engine, "javascript", `files.list()`, { files, limits: small });
  clearInterval(meter);
  expect([status, result]).toEqual(["ok", ["in"]]);
  expect(most - before).toBeLessThan(inBytes / 2);
});

testWith("docker")("64 MiB go into containers, and 15 come out", async () => {
  const { memoryBytes } = limits;
  const options = { cacheDir: tmpdir(), socket: dockerSocket, image: await testImage(), memoryBytes, warm: 0 };
  expect(await takeLarge(openDockerEngine(options), "python", python)).toEqual(taken);
  expect(await takeLarge(openDockerEngine(options), "javascript", javascript)).toEqual(taken);
});

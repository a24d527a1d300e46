import { tmpdir } from "node:os";
import { beforeAll, expect, test } from "vitest";
import type { ExecLimits, ExecResult, Isolation } from "../../src/sandbox/engine.ts";
import { startContainer } from "../../src/sandbox/docker/container.ts";
import { connect, type Daemon } from "../../src/sandbox/docker/daemon.ts";
import { launcherInJavaScript, launcherInPython } from "../../src/sandbox/docker/launcher.ts";
import { conduct, takeGuest } from "../../src/sandbox/process/conduct.ts";
import type { Guest } from "../../src/sandbox/process/guest.ts";
import { dockerSocket, testImage } from "../support/docker.ts";
import { describeWith } from "../support/machine.ts";
import { testLimits } from "./hostile.ts";

const isolation: Isolation = { engine: "docker", level: "container", network: "none" };
const never = new AbortController().signal;

/** What a runner is that was taken over, in both languages of the launcher; `order` is in its hand. */
const runners = {
  python: (program: string) => [
    ...["python3", "-I", "-c", launcherInPython, "python3", "-I", "-c"],
    `
import json, os, sys, time
def write(fd, data):
    while data: data = data[os.write(fd, data):]
def say(**frame): write(3, json.dumps(frame).encode() + b"\\n")
def lines(fd, count):
    text = b""
    while text.count(b"\\n") < count:
        text += os.read(fd, 65536) or sys.exit(9)
    return [json.loads(line) for line in text.splitlines()]
say(type="ready")
data = b""
while b"\\n" not in data:
    data += os.read(3, 65536) or sys.exit(9)
line, _, data = data.partition(b"\\n")
order = json.loads(line)
while len(data) < order["files"][0]["bytes"]:
    data += os.read(3, 65536) or sys.exit(9)
def end(**over): say(**{"type": "done", "nonce": order["nonce"], "status": "ok", "resultJson": "1", "stdoutBytes": 0, "stderrBytes": 0, **over})
${program}
time.sleep(60)`,
  ],
  javascript: (program: string) => [
    ...["node", "-e", launcherInJavaScript, "node", "-e"],
    `
const { readSync, writeSync } = require("node:fs");
const write = (fd, text) => { const bytes = Buffer.from(text); for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at); };
const say = (frame) => write(3, JSON.stringify(frame) + "\\n");
const chunk = Buffer.alloc(1 << 16);
const lines = (fd, count) => {
  let text = "";
  while (text.split("\\n").length <= count) text += chunk.toString("utf8", 0, readSync(fd, chunk) || process.exit(9));
  return text.trim().split("\\n").map((line) => JSON.parse(line));
};
say({ type: "ready" });
let data = Buffer.alloc(0);
const more = () => (data = Buffer.concat([data, chunk.subarray(0, readSync(3, chunk) || process.exit(9))]));
while (!data.includes(10)) more();
const order = JSON.parse(data.toString("utf8", 0, data.indexOf(10)));
data = data.subarray(data.indexOf(10) + 1);
while (data.length < order.files[0].bytes) more();
const end = (over) => say({ type: "done", nonce: order.nonce, status: "ok", resultJson: "1", stdoutBytes: 0, stderrBytes: 0, ...over });
setTimeout(() => {}, 60000);
${program}`,
  ],
};

let daemon: Daemon;

async function start(command: readonly string[]): Promise<Guest> {
  return await startContainer(daemon, { command, memoryBytes: testLimits.memoryBytes, labels: {} }, never);
}

async function runCommand(command: readonly string[], limits: Partial<ExecLimits> = {}): Promise<ExecResult> {
  const guest = await start(command);
  const request = {
    language: "python",
    code: "",
    files: [{ path: "large", bytes: Buffer.alloc(3_000_000, "x") }],
    limits: { ...testLimits, ...limits },
    onCall: () => Promise.resolve("x".repeat(100_000)),
  } as const;
  const result = await conduct(takeGuest(guest, false), request, isolation, never);
  await guest.gone;
  return result;
}

describeWith("docker")("a container", () => {
  beforeAll(async () => {
    const connected = await connect({ socket: dockerSocket, image: await testImage(), cacheDir: tmpdir() });
    if ("reason" in connected) throw new Error(connected.reason);
    daemon = connected;
  });

  test.for([
    [
      "python",
      `write(1, b"o" * 300000); write(5, b"e" * 5); end(stdoutBytes=300000, stderrBytes=5, resultJson=str(len(data)))`,
      `
for id in range(20): say(type="call", nonce=order["nonce"], id=id, name="echo", argsJson="{}", blocking=id == 19)
answers = lines(3, 1) + lines(4, 19); end(resultJson=json.dumps([len(answer["value"]) for answer in answers]))`,
    ],
    [
      "javascript",
      `write(1, "o".repeat(300000)); write(5, "e".repeat(5)); end({ stdoutBytes: 300000, stderrBytes: 5, resultJson: String(data.length) })`,
      `
for (let id = 0; id < 20; id += 1) say({ type: "call", nonce: order.nonce, id, name: "echo", argsJson: "{}", blocking: id === 19 });
const answers = [...lines(3, 1), ...lines(4, 19)];
end({ resultJson: JSON.stringify(answers.map(({ value }) => value.length)) });`,
    ],
  ] as const)(
    "carries prints, frames, a large order and answers, with the launcher in %s",
    async ([language, carry, ask]) => {
      const result = await runCommand(runners[language](carry));
      expect(result).toMatchObject({ status: "ok", outputCut: true, result: 3_000_000, stdout: "o".repeat(65_536) });
      // One answer is waited for while the others lie unread.
      const asked = await runCommand(runners[language](ask));
      expect(asked).toMatchObject({ status: "ok", result: Array.from({ length: 20 }, () => 100_000) });
    },
  );
});

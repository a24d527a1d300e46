import { execFileSync, spawn, spawnSync } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import { testWith } from "../support/machine.ts";
import { runIn, testLimits } from "./hostile.ts";

const engine = openBubblewrapEngine();
afterAll(() => engine[Symbol.asyncDispose]());
const run = (code: string, over?: Parameters<typeof runIn>[3]) => runIn(engine, "python", code, over);

/** Processes of this machine whose command line holds the text. */
const running = (text: string): readonly string[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(text);
      } catch {
        return false;
      }
    });

testWith("bubblewrap")("a daemon that left its parent, its group and its session is gone after the run", async () => {
  const mark = `mark-${crypto.randomUUID()}`;
  const daemon = `
import os, subprocess, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("python3", ["python3", "-c", "import time; time.sleep(100)", "${mark}"])
    os._exit(0)
while not any(b"${mark}" in open(f"/proc/{pid}/cmdline", "rb").read() for pid in os.listdir("/proc") if pid.isdigit() and int(pid) > 2): time.sleep(0.01)
"up"`;
  expect(await run(daemon)).toMatchObject({ status: "ok", result: "up" });
  await expect.poll(() => running(mark)).toEqual([]);
});

testWith("bubblewrap")("memory of all processes counts together", async () => {
  const hungry = `
import os, time
for _ in range(6):
    if os.fork() == 0:
        taken = b"x" * (48 << 20)
        time.sleep(100)
time.sleep(100)`;
  expect(await run(hungry)).toMatchObject({ status: "memory" });
});

testWith("bubblewrap")("memory that processes share counts once", async () => {
  const sharing = `
import os, time
taken = b"x" * (48 << 20)
children = [os.fork() for _ in range(8) if os.getpid() == 2]
if os.getpid() != 2:
    time.sleep(0.3)
    os._exit(0)
for child in children: os.waitpid(child, 0)
"shared"`;
  const { status, result, usage } = await run(sharing);
  expect({ status, result }).toEqual({ status: "ok", result: "shared" });
  expect(usage.memoryBytes).toBeLessThan(160 * 1024 * 1024);
});

testWith("bubblewrap")("files count as memory, those that hold nothing too", async () => {
  const limits = { memoryBytes: 4 * 1024 * 1024 };
  const fill = (mebibytes: number) => `
import time
for folder in ("/tmp", "/in", "/out"):
    for n in range(${mebibytes}): open(f"{folder}/{n}", "wb").write(bytes(1 << 20))
time.sleep(0.3)`;
  expect(await run(fill(20), { limits })).toMatchObject({ status: "ok" });
  expect(await run(fill(60), { limits })).toMatchObject({ status: "memory" });
  const empty = `import os, time\nfor n in range(200_000): os.close(os.open(f"/tmp/{n}", os.O_CREAT))\ntime.sleep(0.3)`;
  expect(await run(empty.replace("200_000", "1_000"), { limits })).toMatchObject({ status: "ok" });
  expect(await run(empty, { limits })).toMatchObject({ status: "memory" });
});

testWith("bubblewrap")("processor time of processes that have ended counts too", async () => {
  const busy = `
import os, time
for _ in range(100):
    child = os.fork()
    if child == 0:
        end = time.process_time() + 0.05
        while time.process_time() < end: pass
        os._exit(0)
    os.waitpid(child, 0)`;
  expect(await run(busy, { limits: { cpuMs: 500 } })).toMatchObject({ status: "timeout" });
  const { status, usage } = await run(busy.replace("100", "2"));
  expect(status).toBe("ok");
  expect(usage.cpuMs).toBeGreaterThanOrEqual(80);
});

testWith("bubblewrap")("processor time of processes that nobody waits for counts too", async () => {
  const unheard = `
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
child = os.fork()
if child == 0:
    while time.process_time() < 0.6: pass
    os._exit(0)
while os.path.exists(f"/proc/{child}"): time.sleep(0.01)
time.sleep(0.2)`;
  const { status, usage } = await run(unheard);
  expect(status).toBe("ok");
  expect(usage.cpuMs).toBeGreaterThanOrEqual(450);
});

testWith("bubblewrap")("a child of the code that runs on into its end gives no second result", async () => {
  expect(await run("import os\nos.fork()\nos.getpid()")).toMatchObject({ status: "ok", result: 2 });
});

testWith("bubblewrap")("code runs as nobody outside too, where Capstan runs as root", async () => {
  const mark = `mark-${crypto.randomUUID()}`;
  const ended = run(`import subprocess\nsubprocess.run(["python3", "-c", "import time; time.sleep(100)", "${mark}"])`, {
    limits: { wallMs: 1_500 },
  });
  await expect.poll(() => running(mark).length).toBe(1);
  const uid = execFileSync("ps", ["-o", "uid=", "-p", running(mark).join()], { encoding: "utf8" }).trim();
  expect(Number(uid)).toBe(process.getuid?.() === 0 ? 65_534 : process.getuid?.());
  expect(await ended).toMatchObject({ status: "timeout" });
});

testWith("bubblewrap")("closing the engine leaves no process of it", async () => {
  const closing = openBubblewrapEngine();
  const mark = `mark-${crypto.randomUUID()}`;
  const ended = runIn(closing, "bash", `sleep 100 & exec -a ${mark} sleep 100`);
  await expect.poll(() => running(mark).length).toBe(1);
  await closing[Symbol.asyncDispose]();
  expect(await ended).toMatchObject({ status: "cancelled" });
  expect(running(mark)).toEqual([]);
});

/** Arguments of Node for a process of its own that runs the code in bubblewrap and prints what came of it. */
function another(language: string, code: string): readonly string[] {
  const module = JSON.stringify(join(import.meta.dirname, "../../src/sandbox/bubblewrap.ts"));
  const request = JSON.stringify({ language, code, files: [], limits: testLimits });
  const program = `
    import { openBubblewrapEngine } from ${module};
    await using engine = openBubblewrapEngine();
    const never = new AbortController().signal;
    await using sandbox = await engine.open({ language: "${language}" }, never);
    console.log(JSON.stringify(await sandbox.run(${request}, never)));`;
  return ["--input-type=module", "-e", program];
}

testWith("bubblewrap")("when Capstan is killed, so is what it started", async () => {
  const mark = `mark-${crypto.randomUUID()}`;
  const capstan = spawn(process.execPath, another("bash", `exec -a ${mark} sleep 100`), { stdio: "ignore" });
  await expect.poll(() => running(mark).length).toBeGreaterThan(1);
  capstan.kill("SIGKILL");
  await expect.poll(() => running(mark)).toEqual([]);
});

testWith("bubblewrap")("what Capstan was started with open is not open inside", () => {
  const secret = openSync(import.meta.filename, "r");
  const open =
    "import os\n[os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd') if os.path.lexists(f'/proc/self/fd/{fd}')]";
  const stdio = Array.from({ length: 41 }, (_, fd) => (fd === 40 ? secret : fd === 1 ? "pipe" : "ignore"));
  const { stdout } = spawnSync(process.execPath, another("python", open), { stdio, encoding: "utf8" });
  closeSync(secret);
  const { status, result } = JSON.parse(stdout);
  expect(status).toBe("ok");
  expect(result.filter((path: string) => path.startsWith("socket:")).length).toBe(4);
  expect(result.filter((path: string) => !path.startsWith("socket:") && path !== "/dev/null")).toEqual([]);
});

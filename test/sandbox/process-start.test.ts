import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "vitest";
import { spawnWith } from "../../src/sandbox/process/spawn.ts";
import { type LocalGuest, startGuest } from "../../src/sandbox/process/start.ts";
import { testWith } from "../support/machine.ts";

const never = new AbortController().signal;
const stdio = ["ignore", "pipe", "pipe", "pipe", "pipe", "pipe", "pipe"] as const;

/** A guest whose bubblewrap is a shell, and which ends before what it started is bound to its life, as bubblewrap may while it starts. */
async function start(inside: string, then: string): Promise<LocalGuest> {
  const script = `${inside} & echo "{\\"child-pid\\": $! }" >&6; ${then}`;
  const launch = () => spawnWith(stdio, "bash", ["-c", script], { detached: true });
  const started = await startGuest(launch, "bubblewrap", never);
  if ("guest" in started) return started.guest;
  throw new Error(started.noBubblewrap);
}

testWith("linux")(
  "a guest is gone though a process of it that was started in a session of its own is left",
  async () => {
    const guest = await start(`setsid bash -c "echo '{}' >&3; cat <&3 >/dev/null"`, "wait");
    expect(guest.meter()).not.toBeNull();
    guest.kill();
    await guest.gone;
    // It hears that nobody is there any more.
    await expect.poll(() => guest.meter()).toBeNull();
  },
);

testWith("linux")("what waits for a bubblewrap that was killed ends with it", async () => {
  const guest = await start("sleep 1000", `echo '{}' >&3; read -r line <&3; kill -9 $$`);
  expect(guest.meter()).not.toBeNull();
  guest.orders.write("go\n");
  await guest.gone;
  await expect.poll(() => guest.meter()).toBeNull();
});

testWith("bubblewrap")("where no descriptor is left, an engine is unavailable, and Capstan goes on", async () => {
  const module = JSON.stringify(join(import.meta.dirname, "../../src/sandbox/bubblewrap.ts"));
  // It leaves one more free each time, so each part of a start that needs one lacks it once.
  const program = `
    import { closeSync, openSync } from "node:fs";
    import { openBubblewrapEngine } from ${module};
    const never = new AbortController().signal;
    const engine = openBubblewrapEngine({ warm: 0 });
    const open = async () => {
      await using sandbox = await engine.open({ language: "javascript" }, never);
    };
    await open();
    const held = [];
    const codes = [];
    for (let free = 0; free < 32; free += 1) {
      try {
        for (;;) held.push(openSync("/dev/null"));
      } catch {}
      for (let at = 0; at < free; at += 1) closeSync(held.pop());
      codes.push(await open().then(() => "opened", ({ code }) => code));
    }
    for (const fd of held) closeSync(fd);
    await open();
    console.log(JSON.stringify([...new Set(codes)]));
    await engine[Symbol.asyncDispose]();`;
  const script = 'ulimit -n 1024; exec "$@"';
  const run = ["-c", script, "sh", process.execPath, "--input-type=module", "-e", program];
  const { stdout } = await promisify(execFile)("bash", run);
  expect(JSON.parse(stdout)).toEqual(["sandbox.unavailable", "opened"]);
});

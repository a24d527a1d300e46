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

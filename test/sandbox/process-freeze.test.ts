import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, vi } from "vitest";
import { descendants, freezeTree } from "../../src/sandbox/process/freeze.ts";
import { testWith } from "../support/machine.ts";

/** What the kernel says a process does: T is stopped, D waits within the kernel, as a shell does for a child that is stopped as it starts. */
const stateOf = (pid: number): string | undefined =>
  / ([A-Z]) /.exec(readFileSync(`/proc/${pid}/stat`, "latin1").replace(/^.*\)/, ""))?.[1];

testWith("linux")("a frozen process stands still with all that it started, and goes on when it is let", async () => {
  const script = `(sh -c 'echo $$; while :; do sleep 0.01; echo tick; done') & echo $$; wait`;
  const child = spawn("/bin/sh", ["-c", script], { stdio: ["ignore", "pipe", "ignore"], detached: true });
  try {
    const lines: string[] = [];
    createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
    while (lines.filter((line) => line === "tick").length < 3) await sleep(10);
    const pids = lines.filter((line) => /^\d+$/.test(line)).map(Number);
    expect(pids).toHaveLength(2);
    const root = child.pid ?? 0;
    const thaw = freezeTree(root, () => true);
    await expect.poll(() => pids.map(stateOf).join()).toMatch(/^T,[TD]$/);
    await sleep(50);
    const before = lines.length;
    await sleep(150);
    expect(lines.length).toBe(before);
    thaw();
    const deadline = AbortSignal.timeout(110_000);
    while (lines.length === before && !deadline.aborted) await sleep(10);
    expect(lines.length).toBeGreaterThan(before);
  } finally {
    const closed = once(child, "close");
    process.kill(-(child.pid ?? 0), "SIGKILL");
    await closed;
  }
  // What has ended is nobody.
  freezeTree(child.pid ?? 0, () => true)();
});

testWith("linux")("what is let go on may start as much as it likes without holding up who lets it", async () => {
  const loops = "for n in {1..24}; do (while :; do (:); done) & done; wait";
  const child = spawn("bash", ["-c", loops], { stdio: "ignore", detached: true });
  const root = child.pid ?? 0;
  const kill = vi.spyOn(process, "kill");
  try {
    // The loops themselves: what each of them starts comes and goes.
    await expect
      .poll(() => readFileSync(`/proc/${root}/task/${root}/children`, "latin1").match(/\d+/g)?.length)
      .toBe(24);
    const thaw = freezeTree(root, () => true);
    // Who was missed at first is stopped by then.
    await sleep(1_500);
    await expect.poll(() => [root, ...descendants(root)].map(stateOf).join("")).toMatch(/^T[TDZ]+$/);
    const frozen = new Set([root, ...descendants(root)]);
    kill.mockClear();
    thaw();
    const continued = kill.mock.calls.map(([pid]) => pid);
    // One that was about to end as its parent was stopped may be gone by then; none is new.
    expect(continued.filter((pid) => !frozen.has(pid))).toEqual([]);
    expect(continued.length).toBeGreaterThan(24);
    expect(continued.at(-1)).toBe(root);
  } finally {
    kill.mockRestore();
    const closed = once(child, "close");
    process.kill(-root, "SIGKILL");
    await closed;
  }
});

/** A process that starts the next one and ends, again and again, with nobody who waits for it: most lists of children come too late for it. */
const chain = `
import ctypes, os, signal, time
ctypes.CDLL(None).prctl(36, 1) # PR_SET_CHILD_SUBREAPER
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if os.fork():
    while True: time.sleep(1)
while True:
    os.write(1, b".")
    if os.fork(): os._exit(0)`;

testWith("bubblewrap")("a process that is another one at each look is caught too", async () => {
  const chains: { readonly child: ChildProcess; readonly steps: () => number }[] = [];
  try {
    for (let count = 0; count < 40; count += 1) {
      const child = spawn("python3", ["-c", chain], { stdio: ["ignore", "pipe", "ignore"], detached: true });
      let told = 0;
      child.stdout.on("data", (piece: Buffer) => (told += piece.length));
      const steps = (): number => told;
      chains.push({ child, steps });
      await expect.poll(steps, { interval: 5 }).toBeGreaterThan(20);
      freezeTree(child.pid ?? 0, () => true);
    }
    // What is in the pipes still comes.
    await sleep(1_500);
    const before = chains.map(({ steps }) => steps());
    await sleep(200);
    expect(chains.map(({ steps }) => steps())).toEqual(before);
  } finally {
    const closed = chains.map(({ child }) => once(child, "close"));
    for (const { child } of chains) process.kill(-(child.pid ?? 0), "SIGKILL");
    await Promise.all(closed);
  }
});

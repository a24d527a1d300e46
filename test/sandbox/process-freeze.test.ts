import { spawn } from "node:child_process";
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
    freezeTree(root, true);
    await expect.poll(() => pids.map(stateOf).join()).toMatch(/^T,[TD]$/);
    await sleep(50);
    const before = lines.length;
    await sleep(150);
    expect(lines.length).toBe(before);
    freezeTree(root, false);
    const deadline = AbortSignal.timeout(110_000);
    while (lines.length === before && !deadline.aborted) await sleep(10);
    expect(lines.length).toBeGreaterThan(before);
  } finally {
    const closed = once(child, "close");
    process.kill(-(child.pid ?? 0), "SIGKILL");
    await closed;
  }
  // What has ended is nobody.
  freezeTree(child.pid ?? 0, true);
});

testWith("linux")("what is let go on may start as much as it likes without holding up who lets it", async () => {
  const loops = "for n in {1..24}; do (while :; do (:); done) & done; wait";
  const child = spawn("bash", ["-c", loops], { stdio: "ignore", detached: true });
  const root = child.pid ?? 0;
  const kill = vi.spyOn(process, "kill");
  try {
    await expect.poll(() => descendants(root).length).toBeGreaterThanOrEqual(24);
    freezeTree(root, true);
    const frozen = new Set([root, ...descendants(root)]);
    kill.mockClear();
    freezeTree(root, false);
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

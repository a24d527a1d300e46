import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { tempFolder } from "../support/temp.ts";

const script = fileURLToPath(new URL("./killed-run.ts", import.meta.url));

/** Drives the run of a home in a process of its own, which is killed right after its event of this number. */
async function live(home: string, killAfter: number): Promise<void> {
  const child = spawn(process.execPath, [script, home], { stdio: ["ignore", "pipe", "inherit"] });
  let events = 0;
  for await (const _ of createInterface({ input: child.stdout })) {
    events += 1;
    if (events === killAfter) child.kill("SIGKILL");
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

describe("a run in a process that is killed with SIGKILL", () => {
  // Among them: a harmful call that has begun, a call that has just ended, a model that was asked.
  test.each([1, 4, 6, 9])("after event %i ends as it would have, and repeats no harm unasked", async (killAfter) => {
    await using home = await tempFolder();
    await live(home.path, killAfter);
    await live(home.path, Infinity);
    const lines = (await readFile(join(home.path, "effects"), "utf8")).trim().split("\n");
    expect(lines.at(-1)).toBe("end done 3 The end.");
    const times = (what: string, callId: string): number => lines.filter((line) => line === `${what} ${callId}`).length;
    const harmful = new Set(lines.filter((line) => line.startsWith("once ")).map((line) => line.slice(5)));
    expect(harmful.size).toBe(2);
    expect([...harmful].filter((callId) => times("once", callId) > 1 + times("asked", callId))).toEqual([]);
  });
});

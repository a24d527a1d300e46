import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Store } from "../../src/store/store.ts";
import { slowCases } from "../support/cases.ts";
import { tempFolder } from "../support/temp.ts";
import { account, all, codeOf, oneCall, readChains, scope, stores } from "./stores.ts";

const child = new URL("child.ts", import.meta.url).pathname;

function start(engine: string, folder: string, job: string, name = "", count = 0) {
  const started = spawn(process.execPath, [child, engine, folder, job, name, String(count)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  started.stdout.setEncoding("utf8").on("data", (chunk: string) => (output += chunk));
  return {
    /** The first line is there: the child is at work. */
    working: once(started.stdout, "data"),
    kill: () => started.kill("SIGKILL"),
    /** Its exit code, null when it was killed, and all that it said. */
    end: once(started, "close").then(() => ({ code: started.exitCode, output })),
  };
}

async function countAll(store: Store, runIds: readonly string[]) {
  const runs = await Promise.all(runIds.map((runId) => all(store.events(scope, runId))));
  const { callIds, broken } = await readChains(store);
  const used = await store.used(["root", ...runIds]);
  return {
    events: runs.map((events) => events.length),
    charged: runIds.map((runId) => used.get(runId)?.calls ?? 0),
    chargedRoot: used.get("root")?.calls ?? 0,
    callIds,
    broken,
  };
}

describe.each(stores)("several processes on $name", ({ name: engine, open }) => {
  test("lose nothing of each other's commits and keep a whole chain each", async () => {
    await using folder = await tempFolder();
    const names = ["p0", "p1", "p2", "p3"];
    // Nobody has made the files yet: the four also race for that.
    const started = names.map((name) => start(engine, folder.path, "steps", name, 150));
    const ends = await Promise.all(started.map(({ end }) => end));
    expect(ends.map(({ code }) => code)).toEqual([0, 0, 0, 0]);

    await using store = await open(folder.path);
    const counts = await countAll(store, names);
    expect(counts).toMatchObject({
      events: [150, 150, 150, 150],
      charged: [150, 150, 150, 150],
      chargedRoot: 600,
      broken: [],
    });
    expect(new Set(counts.callIds).size).toBe(600);
  });

  test("hold one cap together", async () => {
    await using folder = await tempFolder();
    const started = ["p0", "p1", "p2", "p3"].map((name) => start(engine, folder.path, "charges", name, 100));
    const ends = await Promise.all(started.map(({ end }) => end));
    expect(ends.reduce((sum, { output }) => sum + Number(output), 0)).toBe(50);
    await using store = await open(folder.path);
    expect((await store.used(["shared"])).get("shared")).toEqual({ calls: 50 });
  });
});

describe.each(stores)("a killed process on $name", ({ name: engine, open }) => {
  test("loses nothing that was acknowledged, leaves no half commit and no broken chain, time after time", async () => {
    await using folder = await tempFolder();
    const acknowledged = new Set<string>();
    for (let round = 0; round < slowCases / 2; round += 1) {
      const started = start(engine, folder.path, "steps for ever");
      await started.working;
      await sleep(Math.random() * 40);
      started.kill();
      const { code, output } = await started.end;
      expect(code).toBeNull();
      const lines = output.split("\n").slice(0, -1);
      expect(lines.length).toBeGreaterThan(0);
      for (const line of lines) acknowledged.add(line);

      await using store = await open(folder.path);
      const counts = await countAll(store, ["a", "b", "c"]);
      expect(counts.broken).toEqual([]);
      expect(counts.charged).toEqual(counts.events);
      expect(counts.chargedRoot).toBe(counts.callIds.length);
      expect(counts.events.reduce((sum, each) => sum + each)).toBe(counts.callIds.length);
      expect([...acknowledged].filter((callId) => !counts.callIds.includes(callId))).toEqual([]);
    }
  });

  test("leaves its reservation charged, and nobody gets it back twice (B37)", async () => {
    await using folder = await tempFolder();
    const started = start(engine, folder.path, "reserve and hang", "call");
    await started.working;
    started.kill();
    await started.end;

    await using store = await open(folder.path);
    const used = async () => (await store.used(["g"])).get("g");
    expect(await used()).toEqual({ calls: 1 });
    await store.commit({ scope, charges: [oneCall("call", account("g", 2))] });
    expect(await used()).toEqual({ calls: 1 });
    const unknown = { callId: "call", amounts: {}, outcome: "unknown" as const };
    await store.commit({ scope, settles: [unknown] });
    await store.commit({ scope, settles: [{ ...unknown, outcome: "error" }] });
    expect(await used()).toEqual({ calls: 1 });
    expect(await codeOf(store.commit({ scope, charges: [oneCall("next", account("g", 2))] }))).toBe("done");
    expect(await codeOf(store.commit({ scope, charges: [oneCall("third", account("g", 2))] }))).toBe("budget.calls");
  });
});

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Grant } from "../../../src/permissions/grant.ts";
import { handClock } from "../../support/clock.ts";
import { testTool } from "../../support/door.ts";
import { tempFolder } from "../../support/temp.ts";
import { openAgentServer } from "./agent-server.ts";
import { openPeer } from "./peer.ts";
import { keysOf, toTaskClient } from "./task-client.ts";

const sends: string[] = [];
const send = testTool("send", {
  effect: "once",
  run: async ({ text }) => {
    sends.push(text);
    return { type: "done", value: { text } };
  },
});
const sending = { first: [{ calls: [["send", { text: "news" }] as const] }, { text: "It is sent." }] };
const yes = { action: "accept", content: { approve: true } };

/** The grant of a token, under which each `send` asks; `approve`: whose calls its holder may release. */
function asking(grant: Grant, approve: readonly string[] = ["send"]): Grant {
  const tools = grant.rights.tools.map((right) => ({ ...right, ask: right.name === "send" }));
  return {
    ...grant,
    id: `asks-${approve.length}`,
    rights: { ...grant.rights, tools, runs: ["create"], approve: [...approve] },
  };
}

describe("run_agent as a task", () => {
  test("ends with the run's answer", async () => {
    await using at = await openAgentServer([send], sending);
    const client = toTaskClient(at.connect());
    const taskId = await client.begin("run_agent", { task: "Send the news." });
    const { result } = await client.until(taskId, "completed");
    expect(result).toMatchObject({ structuredContent: { status: "done", answer: "It is sent.", turns: 2 } });
  });

  test("asks whoever holds it to approve a call, and goes on after a yes", async () => {
    sends.length = 0;
    await using at = await openAgentServer([send], sending);
    const client = toTaskClient(at.connect(asking(at.grant)));
    const taskId = await client.begin("run_agent", { task: "Send the news." });
    const waiting = await client.until(taskId, "input_required");
    expect(waiting["statusMessage"]).toMatch(/^run_[0-9a-f]+ waits for a person\. .*capstan runs approve run_/);
    const [key = ""] = keysOf(waiting);
    expect(JSON.stringify(waiting["inputRequests"])).toContain("news");
    expect(sends).toEqual([]);
    await client.update(taskId, { [key]: yes });
    const { result } = await client.until(taskId, "completed");
    expect([sends, result]).toMatchObject([["news"], { structuredContent: { status: "done" } }]);
  });

  test("lets the model read a no", async () => {
    sends.length = 0;
    await using at = await openAgentServer([send], sending);
    const client = toTaskClient(at.connect(asking(at.grant)));
    const taskId = await client.begin("run_agent", { task: "Send the news." });
    const [key = ""] = keysOf(await client.until(taskId, "input_required"));
    await client.update(taskId, { [key]: { action: "decline" } });
    await client.until(taskId, "completed");
    expect(sends).toEqual([]);
  });

  test("asks nobody who may not approve, whatever they answer, and sees an approval that came another way", async () => {
    sends.length = 0;
    const clock = handClock();
    await using at = await openAgentServer([send], sending, { clock });
    const client = toTaskClient(at.connect(asking(at.grant, [])));
    const taskId = await client.begin("run_agent", { task: "Send the news." });
    await expect.poll(async () => (await at.host.list(1))[0]?.status).toBe("suspended");
    const [line] = await at.host.list(1);
    const runId = line?.runId ?? "";
    const [callId = ""] = (await at.host.load(runId)).run.calls.keys();
    await client.update(taskId, { [callId]: yes });
    const { result } = await client.get(taskId);
    expect(result).toMatchObject({ status: "working", statusMessage: expect.stringContaining("waits for a person") });
    expect([sends, result?.["inputRequests"]]).toEqual([[], undefined]);
    await at.host.approve(runId, callId, at.grant);
    clock.advance(10_000);
    await client.until(taskId, "completed");
    expect(sends).toEqual(["news"]);
  });

  test("waits beyond the end of its process, and is answered in the next", async () => {
    sends.length = 0;
    await using at = await openAgentServer([send], sending);
    const first = at.connect(asking(at.grant));
    const taskId = await toTaskClient(first).begin("run_agent", { task: "Send the news." });
    const [key = ""] = keysOf(await toTaskClient(first).until(taskId, "input_required"));
    first.hangUp();
    await first.ended;
    const next = toTaskClient(at.connect(asking(at.grant)));
    expect(keysOf(await next.until(taskId, "input_required"))).toEqual([key]);
    await next.update(taskId, { [key]: yes });
    await next.until(taskId, "completed");
    expect(sends).toEqual(["news"]);
  });

  test("that is cancelled ends its run, whether it works or waits, and in whatever process it is", async () => {
    const slow = testTool("slow", {
      timeoutMs: () => 60_000,
      run: async (_, { signal }) => {
        await sleep(60_000, undefined, { signal });
        return { type: "done" };
      },
    });
    const models = { first: [{ calls: [["slow", {}] as const] }], asks: sending.first };
    await using at = await openAgentServer([send, slow], models);
    const statusOf = async () => (await at.host.list(1))[0]?.status;
    const client = toTaskClient(at.connect(asking(at.grant)));
    const working = await client.begin("run_agent", { task: "go" });
    await client.cancel(working);
    await expect.poll(statusOf).toBe("cancelled");

    const waiting = await client.begin("run_agent", { task: "Send.", model: "asks" });
    await client.until(waiting, "input_required");
    await toTaskClient(at.connect(asking(at.grant))).cancel(waiting);
    await expect.poll(statusOf).toBe("cancelled");
  });
});

describe("run_agent as a task of a process that ends", () => {
  function start(home: string) {
    const child = spawn(process.execPath, [join(import.meta.dirname, "agent-program.ts"), home], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    child.stdin.on("error", () => {}); // It is killed.
    return { child, client: toTaskClient(openPeer(child.stdin, child.stdout)) };
  }

  async function end(child: ChildProcess, how: NodeJS.Signals | "hang up"): Promise<void> {
    const ended = once(child, "exit");
    if (how === "hang up") child.stdin?.end();
    else child.kill(how);
    await ended;
  }

  const effectsOf = async (home: string): Promise<readonly string[]> =>
    (await readFile(join(home, "effects"), "utf8").catch(() => "")).trim().split("\n");

  test.each(["SIGKILL", "hang up"] as const)(
    "(%s) is taken up by the next, and ends with its answer",
    async (how) => {
      await using home = await tempFolder();
      const first = start(home.path);
      const taskId = await first.client.begin("run_agent", { task: "Do both." });
      await expect.poll(() => effectsOf(home.path)).toContain("began long");
      await end(first.child, how);

      const next = start(home.path);
      const { result } = await next.client.until(taskId, "completed");
      expect(result).toMatchObject({ structuredContent: { status: "done", answer: "Both were done.", turns: 3 } });
      const effects = await effectsOf(home.path);
      expect(effects).toEqual(["began short", "ended short", "began long", "began long", "ended long"]);
      await end(next.child, "hang up");
    },
    30_000,
  );
});

import { describe, expect } from "vitest";
import { testWith } from "../../support/machine.ts";
import { openBridged } from "./bridge-support.ts";
import { aliveOf, byHand, processesIn } from "./connect-support.ts";

/** The timeout of servers that run into it. */
const shortMs = 10_000;
/** For a machine that is busy with other tests: each of these starts a dozen processes. */
const slackMs = 60_000;
/** Of those that answer, also on a machine that is busy with other things. */
const longMs = 60_000;

/** What servers do wrong, each a server of its own: the tool, its arguments, and what a client in front reads. */
const cases: readonly (readonly [tool: string, args: Record<string, unknown>, read: RegExp])[] = [
  ["exit", {}, /^!mcp\.server_gone: /],
  ["hang", {}, /^!mcp\.timeout: /],
  ["freeze", {}, /^!mcp\.timeout: /],
  ["wrong-id", { ends: false }, /^!mcp\.timeout: /],
  ["late", { ms: 12_000 }, /^!mcp\.timeout: /],
  // With two calls open nobody can say whose answer the line was.
  ["one-line", { megabytes: 40 }, /^!mcp\.(?:protocol|timeout): /],
  ["deep", {}, /^!mcp\.protocol: /],
  ["no-result", {}, /^!mcp\.protocol: /],
  ["garbage", {}, /^after garbage$/],
  ["flood", { megabytes: 5 }, /^flooded$/],
];

const toTimeout = (read: RegExp): number => (read.source.includes("timeout") ? shortMs : longMs);

describe.each(["legacy", "modern"])("servers that do everything wrong (%s)", (era) => {
  testWith("linux")(
    "end each call typed and in time, leave the others alone, come back, and leave nothing",
    async () => {
      const servers = Object.fromEntries(
        cases.map(([tool, , read]) => [tool, byHand([era, `lists=echo,${tool}`], { timeoutMs: toTimeout(read) })]),
      );
      await using bridged = await openBridged({
        ...servers,
        neighbour: byHand([era, "lists=progress"], { timeoutMs: longMs }),
      });
      const pids = await processesIn(bridged.home);
      expect(pids).toHaveLength(cases.length + 1);
      await using older = await bridged.front("2025, v1, stdio");
      await using newer = await bridged.front("2026, v2, HTTP");
      const fronts = [older, newer];

      const told = fronts.map(async (front) => {
        const calls = cases.map(async ([tool, args, read]) => {
          const start = performance.now();
          const answer = await front.call(`${tool}__${tool}`, args);
          expect(performance.now() - start, tool).toBeLessThan(toTimeout(read) + slackMs);
          return answer;
        });
        const unaffected = front.call("neighbour__progress", { steps: 10, everyMs: 100 });
        return [...(await Promise.all(calls)), await unaffected];
      });
      const expected = [...cases.map(([, , read]) => expect.stringMatching(read)), "done"];
      expect(await Promise.all(told)).toEqual(fronts.map(() => expected));

      // What is late is nobody's, so that the next answer is the next call's own.
      for (const [tool] of cases.filter(([name]) => name !== "freeze")) {
        const echo = () => older.call(`${tool}__echo`, { text: tool });
        await expect.poll(echo).toBe(tool);
      }

      const left = [...pids, ...(await processesIn(bridged.home))];
      const closing = performance.now();
      await bridged[Symbol.asyncDispose]();
      expect(performance.now() - closing).toBeLessThan(30_000);
      expect(await aliveOf(left)).toEqual([]);
    },
  );
});

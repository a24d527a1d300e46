import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { newId } from "../../../src/core/id.ts";
import { localPrincipal, localScope } from "../../../src/core/scope.ts";
import { testTool } from "../../support/door.ts";
import { openTestHost, scripted } from "../scripted.ts";
import { type Bridged, official, openBridged } from "./bridge-support.ts";

let bridged: Bridged;
beforeAll(async () => {
  bridged = await openBridged({ old: official("old"), new: official("new") });
});
afterAll(() => bridged[Symbol.asyncDispose]());

const args = { kinds: ["form"], rounds: 1 };
const Who = z.object({ seen: z.object({ open: z.int() }) });

/** How many calls of a server are open. */
async function openAt(server: string): Promise<number> {
  await using front = await bridged.front("2026, v2, stdio");
  return Who.parse(JSON.parse(await front.call(`${server}__who`))).seen.open;
}

describe.each(["old", "new"])("a tool behind that asks a person (%s)", (server) => {
  test("called by a run, which has none, ends that call, and the run goes on", async () => {
    const provider = scripted([{ calls: [[`${server}__ask`, args]] }, { text: "Nobody could say." }]);
    await using host = await openTestHost({ tools: bridged.app.toolbox.tools, provider });
    const { runId, answer } = await host.start("ask");
    expect(answer).toBe("Nobody could say.");
    const finished = (await host.events(runId)).find(({ type }) => type === "tool.finished");
    expect(finished).toMatchObject({ outcome: { isError: true, code: "tool.input_needed" }, taint: [`mcp:${server}`] });
    await expect.poll(() => openAt(server)).toBe(0);
  });

  test("called by code, which has none, throws there", async () => {
    const code = `try { await tools.${server}__ask(${JSON.stringify(args)}); "asked" } catch (error) { error.message }`;
    const grant = bridged.everything();
    const caller = { principal: localPrincipal, scope: localScope, grant, taint: [], depth: 0 };
    const request = { caller, name: "execute_code", args: { language: "javascript", code }, callId: newId("call") };
    const { outcome, taint } = await bridged.app.door.call({ ...request, signal: AbortSignal.timeout(110_000) });
    const told = expect.stringContaining("tool.input_needed: ");
    expect(outcome).toMatchObject({ value: { status: "ok", result: told } });
    // What it asks is its own word, whoever reads it.
    expect(taint).toEqual([`mcp:${server}`]);
    await expect.poll(() => openAt(server)).toBe(0);
  });
});

test("what a tool asks in vain is told a run in bounded words", async () => {
  const requests = [{ id: "a", type: "url" as const, url: "https://a.example/", message: "m".repeat(1_000_000) }];
  const asks = testTool("asks", { run: async () => ({ type: "waiting", requests, state: null }) });
  await using host = await openTestHost({
    tools: [asks],
    provider: scripted([{ calls: [["asks", {}]] }, { text: "done" }]),
  });
  const { runId } = await host.start("ask");
  expect(JSON.stringify(await host.events(runId)).length).toBeLessThan(20_000);
});

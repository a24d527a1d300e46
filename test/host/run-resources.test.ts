import { describe, expect, test } from "vitest";
import { newId } from "../../src/core/id.ts";
import { localScope } from "../../src/core/scope.ts";
import { runResources } from "../../src/host/run-resources.ts";
import { derive } from "../../src/permissions/derive.ts";
import type { Grant } from "../../src/permissions/grant.ts";
import { openDoor } from "../../src/tools/call.ts";
import { toToolbox } from "../../src/tools/toolbox.ts";
import { codeOfAsync } from "../permissions/grants.ts";
import { sameAs, testTool } from "../support/door.ts";
import { openTestHost, scripted } from "./scripted.ts";

const link = { type: "resource_link", uri: "capstan://artifacts/artifact_1", name: "report" } as const;
const foreign = { type: "resource_link", uri: "https://example.org/x", name: "x" } as const;
const makes = testTool("makes", {
  run: async () => ({ type: "done", content: [link, foreign, link], taint: ["mcp:web"] }),
});
const mail = testTool("mail");
const tools = [makes, mail, testTool("echo")];
const all = { type: "uri", under: "capstan://runs/" } as const;

/** A host whose model makes something and then mails it, and a door behind which its runs are read. */
async function openRuns() {
  const provider = scripted([
    { calls: [["makes", {}]] },
    { text: "Made.", calls: [["mail", { text: "hi" }]] },
    { text: "Mailed." },
  ]);
  const at = await openTestHost({ tools, provider });
  const { store, permissions } = at;
  const faults: unknown[] = [];
  const toolbox = toToolbox({ tools: [], resources: [runResources({ store, permissions })] });
  const door = openDoor({ toolbox, store, permissions, onFault: (fault) => faults.push(fault) });
  const operator: Grant = { ...at.grant, rights: { ...at.grant.rights, resources: [all] } };
  const request = (grant: Grant) => {
    const of = grant.run === undefined ? {} : { runId: grant.run };
    const caller = { principal: grant.principal, scope: localScope, grant, taint: [], depth: 0, ...of };
    return { caller, callId: newId("call"), signal: new AbortController().signal };
  };
  return {
    ...at,
    door,
    faults,
    operator,
    /** A grant that was handed out under the operator's. */
    token: (over: Partial<Grant> = {}): Grant => ({
      ...derive(operator, sameAs(operator), { id: newId("grant"), now: permissions.now() }),
      ...over,
    }),
    list: (grant: Grant) => door.listResources(request(grant)),
    read: async (grant: Grant, runId: string) => {
      const { outcome, taint } = await door.readResource({ ...request(grant), uri: `capstan://runs/${runId}` });
      const [part] = outcome.type === "done" ? outcome.contents : [];
      return { taint, value: part !== undefined && "text" in part ? JSON.parse(part.text) : undefined };
    },
    refusal: async (grant: Grant, runId: string): Promise<string> =>
      await codeOfAsync(() => door.readResource({ ...request(grant), uri: `capstan://runs/${runId}` })),
    follow: (grant: Grant, runId: string, onUpdate: () => void) =>
      door.subscribe({ ...request(grant), uri: `capstan://runs/${runId}` }, onUpdate),
    [Symbol.asyncDispose]: () => at[Symbol.asyncDispose](),
  };
}

/** The same grant, which asks before mails: a run under it waits for a person. */
function asking(grant: Grant): Grant {
  const ask = grant.rights.tools.map((right) => ({ ...right, ask: right.name === "mail" }));
  return { ...grant, rights: { ...grant.rights, tools: ask } };
}

describe("a run as a resource", () => {
  test("tells its task, its end, what it used and what its tools left, with the labels of all that it has seen", async () => {
    await using at = await openRuns();
    const { runId } = await at.start("Make a report", { grant: at.operator });
    const { value, taint } = await at.read(at.operator, runId);
    expect(value).toMatchObject({ runId, status: "done", task: "Make a report", model: "scripted", answer: "Mailed." });
    expect(value).toMatchObject({ pending: [], artifacts: [link.uri], turns: 3, toolCalls: 2, costMicroUsd: 0 });
    expect(value).toMatchObject({ usage: { output: 0 }, startedAt: expect.stringMatching(/^20\d\d-.*Z$/) });
    expect(taint).toEqual(["mcp:web"]);
  });

  test("tells, while it waits, for which calls, and is listed with its status, the newest first", async () => {
    await using at = await openRuns();
    const first = await at.start("one", { grant: at.operator });
    const second = await at.start("two", { grant: asking(at.operator), taint: ["mcp:web"] });
    const { value } = await at.read(at.operator, second.runId);
    expect(value).toMatchObject({ status: "suspended", answer: "Made.", pending: [{ name: "mail" }] });
    const [newest, oldest] = await at.list(at.operator);
    expect(newest).toMatchObject({ uri: `capstan://runs/${second.runId}`, name: second.runId });
    expect(newest?.description).toMatch(/^A run: suspended, started 20/);
    // A list carries no labels, so the task of a starter who had seen what others wrote is not in it.
    expect(newest).not.toHaveProperty("title");
    expect(oldest).toMatchObject({ name: first.runId, title: "one" });
  });

  test("of another user, of another token and of nobody are unknown alike (B24)", async () => {
    await using at = await openRuns();
    const mallory = { org: "local", user: "mallory" };
    const [own, sibling] = [at.token(), at.token()];
    const thief = at.token({ principal: mallory, epoch: at.permissions.epoch(mallory) });
    const theirs = at.token({ principal: mallory, ancestors: [], epoch: at.permissions.epoch(mallory) });
    const narrow = at.token({ rights: { ...own.rights, runs: ["create"] } });
    const bound = at.token({ ancestors: [], run: "run_other" });
    const { runId } = await at.start("mine", { grant: own });
    const unknown = await at.refusal(own, "run_none");
    expect(unknown).toBe("resource.unknown");
    for (const other of [sibling, thief, theirs, narrow, bound]) {
      expect(await at.refusal(other, runId)).toBe(unknown);
      expect(await at.list(other)).toEqual([]);
    }
    for (const odd of ["", `${runId}/`, `${runId}/1`, `${runId}?x`, runId.toUpperCase(), "%72un_1"]) {
      expect(await at.refusal(own, odd), odd).toBe(unknown);
    }
    // The lawful neighbours: who started it, whoever stands above, and one that is bound to this run.
    for (const lawful of [own, at.operator, at.token({ ancestors: [], run: runId })]) {
      expect((await at.read(lawful, runId)).value).toMatchObject({ task: "mine" });
      expect(await at.list(lawful)).toMatchObject([{ name: runId }]);
    }
    expect(at.faults).toEqual([]);
  });

  test("is read only under the right to its URI", async () => {
    await using at = await openRuns();
    const { runId } = await at.start("mine", { grant: at.operator });
    const other = await at.start("mine too", { grant: at.operator });
    const to = (uri: string): Grant => ({
      ...at.operator,
      rights: { ...at.operator.rights, resources: [{ type: "exact", value: uri }] },
    });
    const one = to(`capstan://runs/${runId}`);
    expect(await at.refusal(to("capstan://artifacts/"), runId)).toBe("resource.unknown");
    expect(await at.refusal(one, other.runId)).toBe("resource.unknown");
    expect((await at.read(one, runId)).value).toMatchObject({ task: "mine" });
    expect(await at.list(one)).toMatchObject([{ name: runId }]);
  });
});

describe("a subscription to a run", () => {
  test("tells when it goes on and when it ends, whoever drives it, and nothing after it was left", async () => {
    await using at = await openRuns();
    const grant = asking(at.operator);
    const told: Promise<string>[] = [];
    const left: string[] = [];
    const status = async (): Promise<string> => (await at.read(grant, runId)).value.status;
    const { runId, pending } = await at.start("Make a report", { grant });
    const ignored = await at.follow(grant, runId, () => void left.push("told"));
    await using stack = new AsyncDisposableStack();
    stack.use(await at.follow(grant, runId, () => void told.push(status())));
    await ignored[Symbol.asyncDispose]();
    const restarted = at.open();
    await restarted.approve(runId, pending[0]?.callId ?? "", grant);
    await restarted.resume(runId, { grant, signal: new AbortController().signal });
    await expect.poll(() => Promise.all(told)).toEqual(["done", "done"]);
    expect(left).toEqual([]);
  });

  test("of somebody else answers as one to nothing does, and tells nothing", async () => {
    await using at = await openRuns();
    const { runId, pending } = await at.start("mine", { grant: asking(at.operator) });
    const told: string[] = [];
    const sibling = at.token();
    await using stack = new AsyncDisposableStack();
    stack.use(await at.follow(sibling, runId, () => told.push("theirs")));
    stack.use(await at.follow(sibling, "run_none", () => told.push("none")));
    stack.use(await at.follow(at.operator, runId, () => told.push("own")));
    await at.host.deny(runId, pending[0]?.callId ?? "", "no", at.operator);
    await at.resume(runId, { grant: at.operator });
    await expect.poll(() => told).toContain("own");
    expect(new Set(told)).toEqual(new Set(["own"]));
  });
});

test("a run of a run is read by whoever started the first", async () => {
  await using at = await openRuns();
  const token = at.token();
  const parent = await at.start("parent", { grant: token });
  const nested = derive(token, sameAs(token), { id: newId("grant"), now: at.permissions.now() });
  const child = await at.start("child", { grant: nested, parent: { runId: parent.runId, callId: "call_1" } });
  expect((await at.read(token, child.runId)).value).toMatchObject({ task: "child" });
  expect(await at.refusal(nested, parent.runId)).toBe("resource.unknown");
});

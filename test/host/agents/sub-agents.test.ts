import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Event } from "../../../src/core/event.ts";
import { newId } from "../../../src/core/id.ts";
import { localScope } from "../../../src/core/scope.ts";
import type { Grant } from "../../../src/permissions/grant.ts";
import type { StartRequest } from "../../../src/host/host.ts";
import type { RunOutcome } from "../../../src/host/outcome.ts";
import { testTool } from "../../support/door.ts";
import type { Provider } from "../../../src/host/provider.ts";
import type { Models } from "../agent.ts";
import { openAgent } from "../agent.ts";
import type { Turn } from "../scripted.ts";
import { free, scripted, toEvents } from "../scripted.ts";

const agents = {
  lead: { description: "Leads.", instructions: "Lead.", tools: ["read", "publish"], agents: ["digger"], model: "lead" },
  digger: {
    description: "Digs.",
    instructions: "Dig for {{ what }}.",
    variables: { what: { description: "What to dig for" }, deep: { type: "boolean", default: false } },
    tools: ["read"],
    model: "digger",
  },
};

/** The tools of these tests, and which of them ran. */
function openTools() {
  const ran: string[] = [];
  const tools = ["read", "publish"].map((name) =>
    testTool(name, {
      effect: name === "publish" ? "once" : "read",
      run: async ({ text }, { signal }) => {
        if (text === "slow") await sleep(60_000, undefined, { signal });
        ran.push(`${name} ${text}`);
        return { type: "done", value: text };
      },
    }),
  );
  return { tools, ran };
}

const dig = { task: "Dig.", variables: { what: "gold" } };
const leads = [{ calls: [["agent_digger", dig] as const] }, { text: "led" }];

/** A host with the two agents, on which the lead is started. */
async function openLead(models: Models, more: { readonly host?: object; readonly grant?: Partial<Grant> } = {}) {
  const { tools, ran } = openTools();
  const at = await openAgent(tools, models, {
    host: { agents, ...more.host },
    ...(more.grant === undefined ? {} : { grant: more.grant }),
  });
  const start = async (over: Partial<StartRequest> = {}): Promise<RunOutcome> =>
    await at.host.start({ task: "Go.", agent: "lead", grant: at.grant, signal: new AbortController().signal, ...over });
  const resume = async (runId: string): Promise<RunOutcome> =>
    await at.host.resume(runId, { grant: at.grant, signal: new AbortController().signal });
  /** The events of the newest run of that agent. */
  const eventsOf = async (agent: string): Promise<readonly Event[]> => {
    for (const { runId } of await at.host.list(20)) {
      const { events } = await at.host.load(runId);
      if (events[0]?.type === "run.created" && events[0].agent?.name === agent) return events;
    }
    return [];
  };
  return { ...at, ran, start, resume, eventsOf, [Symbol.asyncDispose]: () => at[Symbol.asyncDispose]() };
}

const outcomesIn = (events: readonly Event[]) =>
  events.flatMap((event) => (event.type === "tool.finished" ? [event.outcome] : []));

/** The grant where each call of a tool asks. */
const asking = (grant: Grant, name: string): Grant => ({
  ...grant,
  id: `${grant.id}-ask`,
  rights: {
    ...grant.rights,
    tools: grant.rights.tools.map((right) => (right.name === name ? { ...right, ask: true } : right)),
  },
});

const usage = { ...free, inputUncached: 100, output: 10 };

/** A model that takes 110 tokens for each turn. */
const metered = (answers: readonly Turn[]): Provider =>
  scripted([], {
    metered: true,
    async *stream({ messages }) {
      const turn = answers[messages.filter(({ role }) => role === "assistant").length] ?? { text: "end" };
      for (const event of toEvents(turn)) yield event.type === "message.ended" ? { ...event, usage } : event;
    },
  });
const prices = { lead: { input: 1, output: 1 }, digger: { input: 10, output: 10 } };

describe("an agent as a tool", () => {
  test("is there for the agent that lists it, with its variables, and for no other that did not ask for it", async () => {
    const { tools } = openTools();
    const solo = { description: "Alone.", instructions: "Be.", tools: [] };
    await using at = await openAgent(
      tools,
      {},
      { host: { agents: { ...agents, solo, open: { ...solo, asTool: true } } } },
    );
    const named = at.tools.filter(({ name }) => name.startsWith("agent_"));
    expect(named.map(({ name }) => name)).toEqual(["agent_digger", "agent_open"]);
    expect(named[0]).toMatchObject({
      description: expect.stringMatching(/^Digs\./),
      inputSchema: {
        required: ["task", "variables"],
        properties: {
          variables: {
            properties: { what: { type: "string", description: "What to dig for" }, deep: { type: "boolean" } },
            required: ["what"],
            additionalProperties: false,
          },
        },
      },
    });
    expect(Object.keys(named[1]?.inputSchema["properties"] ?? {})).toEqual(["task"]);
  });

  test("does its task in a run of its own under a narrower grant: it is refused what the other may, and gets what it may", async () => {
    const both = [["publish", { text: "x" }] as const, ["read", { text: "y" }] as const];
    const models = {
      lead: [{ calls: [["agent_digger", dig] as const, ["publish", { text: "own" }] as const] }, { text: "led" }],
      digger: [{ calls: both }, { text: "dug" }],
    };
    await using at = await openLead(models);
    expect(await at.start()).toMatchObject({ status: "done", answer: "led", toolCalls: 2 });
    expect(at.ran.sort()).toEqual(["publish own", "read y"]);
    const [created, ...events] = await at.eventsOf("digger");
    expect(created).toMatchObject({ system: expect.stringMatching(/\n\nDig for gold\.$/), model: "digger" });
    expect(
      outcomesIn(events)
        .map(({ code }) => code ?? "ok")
        .sort(),
    ).toEqual(["ok", "tool.unknown"]);
    const [lead] = await at.eventsOf("lead");
    expect(created).toMatchObject({ parent: { runId: lead?.runId } });
    const answered = outcomesIn(await at.eventsOf("lead")).find(({ value }) => JSON.stringify(value).includes("dug"));
    expect(answered).toMatchObject({ isError: false, value: { status: "done", answer: "dug" } });
  });

  test("is refused to an agent that does not list it, and where its own tools are more than the other's", async () => {
    const models = { lead: leads, digger: [{ text: "dug" }] };
    const { agents: _, ...alone } = agents.lead;
    await using without = await openLead(models, { host: { agents: { ...agents, lead: alone, other: agents.lead } } });
    await without.start();
    expect(outcomesIn(await without.eventsOf("lead"))).toMatchObject([{ isError: true, code: "tool.unknown" }]);

    const greedy = { ...agents.digger, tools: ["read", "publish"] };
    const reader = { ...agents.lead, tools: ["read"] };
    await using at = await openLead(models, { host: { agents: { lead: reader, digger: greedy } } });
    await at.start();
    expect(outcomesIn(await at.eventsOf("lead"))).toMatchObject([{ isError: true, code: "permission.no_right" }]);
    expect(await at.eventsOf("digger")).toEqual([]);
  });

  test.each([
    [{ task: "Dig." }, "tool.bad_arguments"],
    [{ ...dig, variables: { what: "gold", who: "me" } }, "tool.bad_arguments"],
    [{ ...dig, variables: { what: 5 } }, "tool.bad_arguments"],
    [{ ...dig, agent: "lead" }, "tool.bad_arguments"],
  ])("takes no other arguments than its own: %o", async (args, code) => {
    await using at = await openLead({ lead: [{ calls: [["agent_digger", args]] }, { text: "led" }] });
    await at.start();
    expect(outcomesIn(await at.eventsOf("lead"))).toMatchObject([{ isError: true, code }]);
    expect(await at.eventsOf("digger")).toEqual([]);
  });

  test("spends of the budget of the other, in whose totals its cost is", async () => {
    const models = {
      lead: metered([...leads]),
      digger: metered([{ calls: [["read", {}]] }, { text: "dug" }]),
    };
    await using at = await openLead(models, { host: { prices } });
    const outcome = await at.start();
    // Two turns each: 2 × 110 tokens at 1, and 2 × 110 at 10.
    expect(outcome).toMatchObject({ status: "done", costMicroUsd: 2_420, turns: 2 });
    expect(outcome.usage).toMatchObject({ inputUncached: 400, output: 40 });
    expect((await at.store.used([at.grant.id])).get(at.grant.id)?.costMicroUsd).toBe(2_420);

    const poor = await at.start({ limits: { costMicroUsd: 1_500 } });
    expect(poor).toMatchObject({ status: "limit", code: "budget.cost" });
    expect(outcomesIn(await at.eventsOf("digger")).length).toBe(1);
  });
});

test("what an agent has cost that ended with the run around it is in the totals too", async () => {
  const slow = { lead: metered(leads), digger: metered([{ calls: [["read", { text: "slow" }]] }]) };
  await using at = await openLead(slow, { host: { prices } });
  const ending = new AbortController();
  const onSignal = (told: { readonly type: string; readonly text?: string }): void => {
    if (told.type === "progress" && told.text?.includes("1 turn,") === true) ending.abort();
  };
  const outcome = await at.start({ cancelled: ending.signal, onSignal });
  // One turn each: 110 tokens at 1, and 110 at 10.
  expect(outcome).toMatchObject({ status: "cancelled", costMicroUsd: 1_210 });
  expect((await at.host.list(9)).map(({ status }) => status)).toEqual(["cancelled", "cancelled"]);
});

describe("a run that waits for the run of its agent", () => {
  const models = { lead: leads, digger: [{ calls: [["read", { text: "z" }] as const] }, { text: "dug" }] };

  test("is suspended with it, names the call that a person must decide, and goes on with it", async () => {
    await using at = await openLead(models);
    const grant = asking(at.grant, "read");
    const outcome = await at.start({ grant });
    expect(outcome).toMatchObject({ status: "suspended", pending: [{ name: "read", args: { text: "z" } }] });
    const [pending] = outcome.pending;
    const [created] = await at.eventsOf("digger");
    expect(pending?.runId).toBe(created?.runId);

    // The run around it has no such call.
    await expect(at.host.approve(outcome.runId, pending?.callId ?? "", at.grant)).rejects.toMatchObject({
      code: "run.not_waiting",
      message: expect.stringContaining(`Waiting: ${pending?.callId} of ${pending?.runId}`),
    });
    // Resuming approves nothing, and starts no second run.
    expect(await at.resume(outcome.runId)).toMatchObject({
      status: "suspended",
      pending: [{ callId: pending?.callId }],
    });
    expect(at.ran).toEqual([]);
    await at.host.approve(pending?.runId ?? "", pending?.callId ?? "", at.grant);
    expect(await at.resume(outcome.runId)).toMatchObject({ status: "done", answer: "led" });
    expect(at.ran).toEqual(["read z"]);
    expect(await at.host.list(9)).toHaveLength(2);
  });

  test("is answered by whoever holds its handle, for the calls of all runs within it", async () => {
    await using at = await openLead(models);
    const grant = asking(at.grant, "read");
    const args = { task: "Go.", agent: "lead" };
    const callId = newId("call");
    const detach = async (): Promise<void> => {};
    const { outcome } = await at.call("run_agent", args, { by: { grant }, callId, detach });
    expect(outcome).toMatchObject({ type: "waiting", durable: true, requests: [{ type: "form" }] });
    if (outcome.type !== "waiting") throw new Error("It does not wait.");
    const { requests, state } = outcome;
    const responses = { [requests[0]?.id ?? ""]: { action: "accept", content: { approve: true } } };
    const ended = await at.call("run_agent", args, { by: { grant }, callId, detach, resumed: { responses, state } });
    expect(ended.outcome).toMatchObject({ type: "done", value: { status: "done", answer: "led" } });
    expect(at.ran).toEqual(["read z"]);
  });

  test("sees the end of that run where it was driven by hand meanwhile, and a person's no", async () => {
    await using at = await openLead(models);
    const outcome = await at.start({ grant: asking(at.grant, "read") });
    const [pending] = outcome.pending;
    await at.host.deny(pending?.runId ?? "", pending?.callId ?? "", "Not this one.", at.grant);
    expect(await at.resume(pending?.runId ?? "")).toMatchObject({ status: "refused", answer: "dug" });
    expect(await at.resume(outcome.runId)).toMatchObject({ status: "done", answer: "led" });
    expect(at.ran).toEqual([]);
    expect(outcomesIn(await at.eventsOf("lead"))).toMatchObject([{ value: { status: "refused" } }]);
  });

  test("ends that run when it is cancelled", async () => {
    await using at = await openLead(models);
    const { runId } = await at.start({ grant: asking(at.grant, "read") });
    await at.host.cancel(runId, "No more.", at.grant);
    expect(await at.resume(runId)).toMatchObject({ status: "cancelled" });
    expect((await at.host.list(9)).map(({ status }) => status)).toEqual(["cancelled", "cancelled"]);
    expect(at.faults).toEqual([]);
  });

  test("goes no deeper than its grant allows", async () => {
    await using at = await openLead(models, { host: { limits: { depth: 0 } } });
    await at.start();
    expect(outcomesIn(await at.eventsOf("lead"))).toMatchObject([{ isError: true, code: "budget.depth" }]);
    expect(await at.eventsOf("digger")).toEqual([]);
  });
});

test("run_agent takes a named agent, within the limits of both", async () => {
  const { tools } = openTools();
  const forever = Array.from({ length: 9 }, () => ({ calls: [["read", {}] as const] }));
  const digger = { ...agents.digger, limits: { turns: 4 } };
  await using at = await openAgent(tools, { digger: forever }, { host: { agents: { digger } } });
  const turnsOf = async (args: object): Promise<unknown> => {
    const { outcome } = await at.call("run_agent", { ...dig, agent: "digger", ...args });
    return outcome.type === "done" ? outcome.value : outcome;
  };
  expect(await turnsOf({})).toMatchObject({ status: "limit", turns: 4 });
  expect(await turnsOf({ maxTurns: 9 })).toMatchObject({ status: "limit", turns: 4 });
  expect(await turnsOf({ maxTurns: 2 })).toMatchObject({ status: "limit", turns: 2 });
  const { outcome } = await at.call("run_agent", { ...dig, agent: "nobody" });
  expect(outcome).toMatchObject({ isError: true, code: "agent.unknown" });
  expect((await at.store.runs(localScope, 9)).length).toBe(3);
});

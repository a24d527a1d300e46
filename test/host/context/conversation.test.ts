import { describe, expect, test } from "vitest";
import { toCapstanError } from "../../../src/core/error.ts";
import { newId } from "../../../src/core/id.ts";
import { localPrincipal, localScope } from "../../../src/core/scope.ts";
import { toArray } from "../../../src/core/sequence.ts";
import type { ModelRequest, Provider } from "../../../src/host/provider.ts";
import { openPlanner } from "../../../src/host/providers/planner.ts";
import type { RunSignal } from "../../../src/host/world.ts";
import { testTool, toGrant } from "../../support/door.ts";
import { openTestHost, scripted, toEvents } from "../scripted.ts";
import { stepTool, worker } from "./worker.ts";

/** A model that says how many messages of the user it has read, and what the last one was. */
function listener(): Provider & { readonly requests: ModelRequest[] } {
  const requests: ModelRequest[] = [];
  return {
    name: "listener",
    identity: "listener",
    metered: true,
    async *stream(request) {
      requests.push(request);
      const users = request.messages.filter(({ role }) => role === "user");
      yield* toEvents({ text: `${users.length}: ${textOf(users.at(-1))}` });
    },
    requests,
  };
}

function textOf(message: ModelRequest["messages"][number] | undefined): string {
  const block = message?.role === "user" ? message.content[0] : undefined;
  return block?.type === "text" ? block.text : "";
}

const codeOf = async (promise: Promise<unknown>): Promise<string> =>
  await promise.then(
    () => "none",
    (thrown: unknown) => toCapstanError(thrown).code,
  );

describe("a conversation", () => {
  test("goes on with the last run, what it has seen and where that came from, and says so", async () => {
    const provider = listener();
    await using at = await openTestHost({ tools: [], provider });
    const first = await at.start("My name is Ada.", { context: "from outside" });
    const said: RunSignal[] = [];
    const second = await at.start("What is my name?", {
      continue: true,
      limits: { turns: 1 },
      onSignal: (signal) => void (signal.type === "conversation" && said.push(signal)),
    });
    expect(second).toMatchObject({ status: "done", answer: "3: What is my name?", turns: 1, taint: ["stdin"] });
    expect(second.conversation).toBe(first.runId);
    const { runId } = first;
    expect(said).toEqual([{ type: "conversation", conversation: runId, runId, task: "My name is Ada." }]);
    const third = await at.start("And now?", { continue: true });
    expect(third).toMatchObject({ answer: "4: And now?", conversation: first.runId });
    const [created] = (await at.events(third.runId)).filter((event) => event.runId === third.runId);
    expect(created).toMatchObject({ previous: { runId: second.runId, how: "continue" }, conversation: first.runId });
    // The task is the new one, and what was used is the new run's own.
    const { run } = await at.host.load(third.runId);
    expect(textOf(toArray(run.messages)[run.context.taskAt])).toBe("And now?");
    expect(provider.requests.at(-1)?.cacheKey).toBe(first.runId);
  });

  test("gives no run the answer of the one before it", async () => {
    await using at = await openTestHost({ tools: [], provider: scripted([{ text: "42" }]) });
    await at.start("The first question.", { conversation: "c" });
    const rules = [{ name: "secret", on: ["input" as const], words: ["second"], action: "block" as const }];
    const blocked = await at.start("The second question.", { conversation: "c", guardrails: { rules } });
    expect(blocked).toMatchObject({ status: "refused", answer: "" });
  });

  test("is begun and gone on with by its name, or by the id of a run in it", async () => {
    await using at = await openTestHost({ tools: [], provider: listener() });
    const other = await at.start("Something else.");
    const first = await at.start("One.", { conversation: "trip" });
    const second = await at.start("Two.", { conversation: "trip" });
    expect([first, second].map(({ answer, conversation }) => [answer, conversation])).toEqual([
      ["1: One.", "trip"],
      ["2: Two.", "trip"],
    ]);
    expect(await at.start("Three.", { conversation: first.runId })).toMatchObject({
      answer: "3: Three.",
      conversation: "trip",
    });
    expect(await at.start("Again.", { conversation: other.runId })).toMatchObject({
      answer: "2: Again.",
      conversation: other.runId,
    });
  });

  test("is gone on with by one of two that try at once, and the other one begins nothing", async () => {
    await using at = await openTestHost({ tools: [], provider: listener() });
    for (const conversation of ["trip", undefined]) {
      const first = await at.start("One.", conversation === undefined ? {} : { conversation });
      const request = { task: "Two.", model: "scripted", grant: at.grant, signal: AbortSignal.timeout(60_000) };
      const name = conversation ?? first.runId;
      const both = await Promise.allSettled(
        [at.open(), at.open()].map((host) => host.start({ ...request, conversation: name })),
      );
      const done = both.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
      const refused = both.flatMap((one) => (one.status === "rejected" ? [toCapstanError(one.reason)] : []));
      expect(done).toMatchObject([{ answer: "2: Two.", conversation: name }]);
      expect(refused).toMatchObject([{ code: "store.conflict" }]);
      expect(refused[0]?.message).toContain("gone on with this conversation");
      expect((await at.start("Three.", { conversation: name })).answer).toBe("3: Three.");
    }
    expect(await at.store.runs(localScope, 10)).toHaveLength(6);
  });

  test("is found behind more runs that are none of it than are looked at together", async () => {
    await using at = await openTestHost({ tools: [], provider: listener() });
    const own = await at.start("Mine.", { conversation: "trip" });
    const [first] = await at.events(own.runId);
    if (first?.type !== "run.created") throw new Error("The run has no beginning.");
    const { v: _v, scope, runId: _runId, seq: _seq, at: time, ...created } = first;
    // Runs of others, and of calls.
    const parent = { runId: own.runId, callId: "call_1" };
    const begin = (place: number) =>
      at.store.commit({
        ...{ scope, runId: newId("run"), afterSeq: 0, at: time + 1 },
        events: [place % 2 === 0 ? created : { ...created, parent }],
      });
    await Promise.all(Array.from({ length: 250 }, (_, place) => begin(place)));
    expect(await at.start("And?", { continue: true })).toMatchObject({ answer: "2: And?", conversation: "trip" });
    await Promise.all(Array.from({ length: 250 }, (_, place) => begin(place)));
    expect(await at.start("Last.", { conversation: own.runId })).toMatchObject({ answer: "3: Last." });
  });

  test("is nobody else's: others of the scope find neither its name nor its runs", async () => {
    await using at = await openTestHost({ tools: [], provider: listener() });
    const first = await at.start("A secret.", { conversation: "trip" });
    const principal = { ...localPrincipal, user: "mallory" };
    const grant = toGrant([], at.permissions.now(), at.permissions.epoch(principal), { principal });
    const stranger = at.open({ principal });
    const request = { task: "What was said?", model: "scripted", grant, signal: AbortSignal.timeout(60_000) };
    expect(await codeOf(stranger.start({ ...request, continue: true }))).toBe("run.not_found");
    expect(await codeOf(stranger.start({ ...request, conversation: first.runId }))).toBe("run.not_found");
    expect(await stranger.start({ ...request, conversation: "trip" })).toMatchObject({ answer: "1: What was said?" });
    expect(await at.start("What was said?", { conversation: "trip" })).toMatchObject({ answer: "2: What was said?" });
  });

  test("is not read by a token beside the one that had it, nor without the right to read runs", async () => {
    await using at = await openTestHost({ tools: [], provider: listener() });
    const ancestors = [{ id: at.grant.id, limits: {} }];
    const [one, two] = ["grant_one", "grant_two"].map((id) => ({ ...at.grant, id, ancestors }));
    const first = await at.start("A secret.", { grant: one ?? at.grant });
    expect(await codeOf(at.start("What?", { grant: two ?? at.grant, conversation: first.runId }))).toBe(
      "run.not_found",
    );
    expect(await codeOf(at.start("What?", { grant: two ?? at.grant, continue: true }))).toBe("run.not_found");
    const blind = { ...at.grant, rights: { ...at.grant.rights, runs: ["create" as const] } };
    expect(await codeOf(at.start("What?", { grant: blind, continue: true }))).toBe("permission.no_right");
    // Who began it needs no right to read it, and still sees nothing of others.
    const begun = { continue: true, isStarter: true } as const;
    expect(await codeOf(at.start("What?", { grant: two ?? at.grant, ...begun }))).toBe("run.not_found");
    expect((await at.start("Hm.", { grant: { ...(one ?? at.grant), rights: blind.rights }, ...begun })).answer).toBe(
      "2: Hm.",
    );
    expect((await at.start("What?", { grant: one ?? at.grant, continue: true })).answer).toBe("3: What?");
  });

  test("goes on with what was imported where that is named, tainted, and never by itself", async () => {
    await using at = await openTestHost({ tools: [], provider: listener() });
    const own = await at.start("Mine.");
    const theirs = await at.host.importRun(at.host.exportRun(own.runId), { name: "theirs", grant: at.grant });
    expect(await at.start("And?", { continue: true })).toMatchObject({ conversation: own.runId, taint: [] });
    expect(await at.start("And?", { conversation: theirs })).toMatchObject({
      ...{ status: "done", answer: "2: And?", conversation: theirs },
      taint: ["import:theirs"],
    });
  });

  test.each([
    { request: { conversation: "a b" }, code: "usage.bad_option" },
    { request: { conversation: "" }, code: "usage.bad_option" },
    { request: { conversation: "x".repeat(65) }, code: "usage.bad_option" },
    { request: { conversation: "trip", continue: true as const }, code: "usage.bad_option" },
    { request: { conversation: "run_0" }, code: "run.not_found" },
    { request: { continue: true as const }, code: "run.not_found" },
  ])("is refused before anything begins: $request gets $code", async ({ request, code }) => {
    const provider = listener();
    await using at = await openTestHost({ tools: [], provider });
    expect(await codeOf(at.start("Hello.", request))).toBe(code);
    expect(provider.requests).toEqual([]);
    expect(await at.store.runs(localScope, 10)).toEqual([]);
  });

  test("waits for its last run, and goes on after one that was interrupted", async () => {
    const stop = new AbortController();
    const slow = testTool("slow", {
      run: async (_, { signal }) => {
        stop.abort();
        await new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
        return { type: "done" };
      },
    });
    const asking = testTool("asking", { effect: "once" });
    const provider: Provider = {
      ...listener(),
      async *stream({ messages }) {
        const last = messages.at(-1);
        if (last?.role !== "user") yield* toEvents({ text: "done" });
        else yield* toEvents(textOf(last) === "Then?" ? { text: "went on" } : { calls: [[textOf(last), {}]] });
      },
    };
    const tools = [slow, asking];
    await using at = await openTestHost({ tools, provider });
    const { rights } = at.grant;
    const asks = { ...at.grant, rights: { ...rights, tools: rights.tools.map((right) => ({ ...right, ask: true })) } };
    const waiting = await at.start("asking", { grant: asks, conversation: "waits" });
    expect(waiting.status).toBe("suspended");
    expect(await codeOf(at.start("Then?", { conversation: "waits" }))).toBe("run.not_over");
    const broken = await at.start("slow", { signal: stop.signal, conversation: "broken" });
    expect(broken).toMatchObject({ status: "cancelled", code: "core.interrupted" });
    expect(await at.start("Then?", { conversation: "broken" })).toMatchObject({ status: "done", answer: "went on" });
  });

  test("has the planner do the new task alone", async () => {
    await using at = await openTestHost({ tools: [testTool("echo")], provider: openPlanner() });
    const first = await at.start('echo {"text":"one"}');
    const second = await at.start('echo {"text":"two"}', { continue: true });
    expect([first.toolCalls, second.toolCalls]).toEqual([1, 1]);
    expect(second.answer).toContain("two");
    expect(second.answer).not.toContain("one");
  });

  test("carries summaries over, and the task of each run stays whole", async () => {
    const { provider } = worker({ steps: 30 });
    const { tool } = stepTool(600);
    const config = { models: { scripted: { windowTokens: 2_000 } }, resultTokens: 500 };
    await using at = await openTestHost({ tools: [tool], provider, config });
    const first = await at.start("Do the first ten steps.", { limits: { turns: 10 } });
    expect(first).toMatchObject({ status: "limit", toolCalls: 10 });
    const second = await at.start("Do the others too.", { continue: true, limits: { turns: 1_000 } });
    expect(second).toMatchObject({ status: "done", answer: "All 30 steps are done.", toolCalls: 20 });
    const { run } = await at.host.load(second.runId);
    expect(textOf(toArray(run.messages)[run.context.taskAt])).toBe("Do the others too.");
    expect(run.context.compactions).toBeGreaterThan(2);
    expect(await at.host.replay(second.runId)).toMatchObject({ ok: true });
  });
});

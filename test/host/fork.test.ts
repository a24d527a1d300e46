import { describe, expect, test } from "vitest";
import { toForkedCallId } from "../../src/core/begin.ts";
import { newId } from "../../src/core/id.ts";
import { localPrincipal } from "../../src/core/scope.ts";
import { HostConfig } from "../../src/host/config.ts";
import type { ForkRequest } from "../../src/host/history.ts";
import { testTool } from "../support/door.ts";
import type { Turn } from "./scripted.ts";
import { openTestHost, scripted } from "./scripted.ts";

/** What a run did, and with which ids. */
function openCounted(turns: readonly Turn[], over: Parameters<typeof openTestHost>[0]["grant"] = {}) {
  const ran: string[] = [];
  const tools = (["read", "once"] as const).map((effect) =>
    testTool(effect, {
      effect,
      run: async ({ text }, { callId }) => {
        ran.push(`${effect} ${text} ${callId}`);
        return { type: "done", value: `${effect} ${text}`, ...(text === "dirty" ? { taint: ["files"] } : {}) };
      },
    }),
  );
  const provider = scripted(turns);
  return { ran, provider, opening: openTestHost({ tools, provider, grant: over }) };
}

const turns: readonly Turn[] = [
  {
    calls: [
      ["read", { text: "dirty" }],
      ["once", { text: "b" }],
    ],
  },
  { text: "The end." },
];

describe("a fork of a run", () => {
  test("goes on from an event with a tool's result changed, and leaves the run as it was", async () => {
    const { opening, provider, ran } = openCounted(turns);
    await using at = await opening;
    const { runId } = await at.start("go", { limits: { parallel: 1 } });
    const before = await at.events(runId);
    const end = before.find((event) => event.type === "tool.finished" && event.taint.length > 0);
    if (end?.type !== "tool.finished") throw new Error("No tool has ended.");
    const { callId, seq } = end;
    const fork = (over: Partial<ForkRequest> = {}) =>
      at.host.fork(runId, { at: seq, grant: at.grant, signal: new AbortController().signal, ...over });
    const outcome = await fork({ results: { [callId]: { said: "by hand" } } });
    expect(outcome).toMatchObject({ status: "done", taint: ["files"] });
    // The call that was still to come was made again, as one of the fork's own.
    expect(ran.map((call) => call.split(" ")[0])).toEqual(["read", "once", "once"]);
    expect(new Set(ran).size).toBe(3);

    const { run, events } = await at.host.load(outcome.runId);
    expect(run).toMatchObject({ status: "done", turns: 2, taint: ["files"] });
    const edited = events.find((event) => event.type === "tool.finished" && event.edited === true);
    expect(edited).toMatchObject({ callId: toForkedCallId(outcome.runId, callId), taint: ["files"] });
    expect(JSON.stringify(provider.requests.at(-1)?.messages)).toContain("by hand");
    expect(JSON.stringify(provider.requests.at(-1)?.messages)).not.toContain("read dirty");
    expect(await at.events(runId)).toEqual(before);
    expect(events.filter((event) => event.runId === runId)).toEqual(before.slice(0, seq - 1));
    expect(await at.host.verify(outcome.runId)).toMatchObject({ ok: true, sealed: true });
  });

  test("says something else to the model, in place of a message or after an event, also when the run is over", async () => {
    const { opening, provider } = openCounted([{ text: "One." }, { text: "Two." }]);
    await using at = await opening;
    const { runId } = await at.start("go", { context: "from a file" });
    const fork = (over: Partial<ForkRequest>) =>
      at.host.fork(runId, { at: 1, grant: at.grant, signal: new AbortController().signal, ...over });
    const told = () => toTexts(provider.requests.at(-1)?.messages ?? []);

    // Whoever had the run driven has seen what came with it; another has not.
    const grant = { ...at.grant, id: newId("grant") };
    expect(await fork({ at: 2, message: "said by hand", grant })).toMatchObject({
      status: "done",
      answer: "One.",
      taint: [],
    });
    expect(told()).toEqual(["go", "said by hand"]);
    const { length } = await at.events(runId);
    expect(await fork({ at: length, message: "and more" })).toMatchObject({ status: "done", answer: "Two." });
    expect(told().at(-1)).toBe("and more");
    const again = await fork({ at: length });
    expect(again).toMatchObject({ status: "done", answer: "One.", turns: 1, taint: ["stdin"] });
    const deeper = await at.host.fork(again.runId, {
      ...{ at: 1, message: "once more", grant: at.grant, signal: new AbortController().signal },
    });
    expect(deeper).toMatchObject({ status: "done", answer: "Two." });
    expect((await at.host.load(deeper.runId)).events.map((event) => event.runId).slice(0, length)).toEqual(
      Array.from({ length }, () => runId),
    );
  });

  test("can be begun without being driven, and is taken up as any other run", async () => {
    const { opening, provider } = openCounted([{ text: "One." }]);
    await using at = await opening;
    const { runId } = await at.start("go");
    const { signal } = new AbortController();
    const fork = await at.host.fork(runId, { at: 1, drives: false, grant: at.grant, signal, model: "other" });
    expect(provider.requests).toHaveLength(1);
    expect(fork).toMatchObject({ code: "core.interrupted" });
    expect(await at.resume(fork.runId)).toMatchObject({ status: "done", answer: "One." });
    expect((await at.host.load(fork.runId)).run).toMatchObject({ model: "other", task: "go" });
  });

  test("is refused with the reason where it can't be", async () => {
    const { opening } = openCounted(turns);
    await using at = await opening;
    const { runId } = await at.start("go");
    const events = await at.events(runId);
    const end = events.findIndex((event) => event.type === "tool.finished");
    const ended = events[end];
    const callId = ended?.type === "tool.finished" ? ended.callId : "";
    const fork = (over: Partial<ForkRequest>) =>
      at.host.fork(runId, { at: 1, grant: at.grant, signal: new AbortController().signal, ...over });
    for (const place of [0, -1, 1.5, events.length + 1]) {
      await expect(fork({ at: place })).rejects.toThrow(new RegExp(`no event ${place}: they go from 1 to`));
    }
    await expect(fork({ at: 2, results: { call_none: 1 } })).rejects.toThrow(
      /No call call_none is open.*Open there: none/,
    );
    await expect(fork({ at: events.length, results: { [callId]: 1 } })).rejects.toThrow(
      new RegExp(`It ended with event ${end + 1}: fork --at ${end + 1}`),
    );
    await expect(fork({ at: end + 1, results: { [callId]: "x".repeat(1024 * 1024) } })).rejects.toThrow(/are the most/);
    await expect(fork({ limits: { turns: 0 } })).rejects.toMatchObject({ code: "usage.bad_option" });
    expect(await at.store.runs((await at.host.load(runId)).run.scope, 10)).toHaveLength(1);
  });
});

describe("what a fork may do", () => {
  const harm: readonly Turn[] = [{ calls: [["once", { text: "b" }]] }, { text: "The end." }];
  const asking = (at: { readonly grant: Awaited<ReturnType<typeof openTestHost>>["grant"] }) => ({
    ...at.grant,
    id: newId("grant"),
    rights: { ...at.grant.rights, tools: at.grant.rights.tools.map((right) => ({ ...right, ask: true })) },
  });

  test("is nothing that was approved for the other run: a person is asked again, for the new call", async () => {
    const { opening, ran } = openCounted(harm);
    await using at = await opening;
    const grant = asking(at);
    const first = await at.start("go", { grant });
    const [waiting] = first.pending;
    if (waiting === undefined) throw new Error("Nothing waits.");
    await at.host.approve(first.runId, waiting.callId, at.grant);
    // Taken into the log, not used: the run is forked at that point.
    const approved = (await at.resume(first.runId, { grant })).status;
    const events = await at.events(first.runId);
    const point = events.findIndex((event) => event.type === "input.received") + 1;
    expect([approved, ran.length]).toEqual(["done", 1]);

    const { signal } = new AbortController();
    const fork = await at.host.fork(first.runId, { at: point, grant, signal });
    expect([fork.status, ran.length]).toEqual(["suspended", 1]);
    const [asked] = fork.pending;
    expect(asked?.callId).toBe(toForkedCallId(fork.runId, waiting.callId));
    await expect(at.host.approve(fork.runId, waiting.callId, at.grant)).rejects.toMatchObject({
      code: "run.not_waiting",
    });
    await at.host.approve(fork.runId, asked?.callId ?? "", at.grant);
    expect(await at.resume(fork.runId, { grant })).toMatchObject({ status: "done" });
    expect(ran).toHaveLength(2);
  });

  test("is not a call again that may have taken effect, before a person says so", async () => {
    const { opening, ran } = openCounted(harm);
    await using at = await opening;
    const { runId } = await at.start("go");
    const events = await at.events(runId);
    const point = events.findIndex((event) => event.type === "tool.requested") + 1;
    const { signal } = new AbortController();
    const fork = await at.host.fork(runId, { at: point, grant: at.grant, signal });
    expect(fork.pending).toMatchObject([{ question: expect.stringContaining("may have taken effect") }]);
    expect(ran).toHaveLength(1);
    await at.host.deny(fork.runId, fork.pending[0]?.callId ?? "", "Once is enough.", at.grant);
    expect(await at.resume(fork.runId)).toMatchObject({ status: "refused" });
    expect(ran).toHaveLength(1);
  });

  test("is what its caller and the starter of the run both may, and both are charged", async () => {
    const { opening, ran } = openCounted(harm);
    await using at = await opening;
    const { runId } = await at.start("go");
    const { signal } = new AbortController();
    const narrow = { ...at.grant, id: newId("grant"), rights: { ...at.grant.rights, tools: [] } };
    const none = await at.host.fork(runId, { at: 1, grant: narrow, signal });
    // A fork of a narrow run stays as narrow, whoever forks it.
    const wider = await at.host.fork(none.runId, { at: 1, grant: at.grant, signal });
    for (const fork of [none, wider]) {
      const ends = (await at.events(fork.runId)).filter((event) => event.type === "tool.finished");
      expect(ends).toMatchObject([{ outcome: { code: "tool.unknown" } }]);
    }
    expect(ran).toHaveLength(1);

    const used = async (id: string) => (await at.store.used([id])).get(id)?.calls ?? 0;
    const other = { ...at.grant, id: newId("grant") };
    const before = await used(at.grant.id);
    expect(await at.host.fork(runId, { at: 1, grant: other, signal })).toMatchObject({ status: "done" });
    expect([await used(other.id), (await used(at.grant.id)) - before]).toEqual([1, 1]);
    await at.permissions.revoke(at.grant.id, "The starter is gone.");
    await expect(at.host.fork(runId, { at: 1, grant: other, signal })).rejects.toMatchObject({ code: "token.revoked" });
  });

  test("is within the rules of the config, and of the run: what they held back stays held back", async () => {
    const rules = [
      { name: "secret", on: ["input" as const, "output" as const], words: ["sesame"], action: "block" as const },
    ];
    const provider = scripted([{ text: "Open sesame." }]);
    await using at = await openTestHost({ tools: [], provider, config: { guardrails: { rules } } });
    const run = await at.start("go");
    expect(run).toMatchObject({ code: "guardrail.output" });
    const events = await at.events(run.runId);
    const said = events.findIndex(({ type }) => type === "model.answered") + 1;
    expect(events[said]?.type).toBe("guardrail.hit");
    const { signal } = new AbortController();
    // At the answer itself, and by a host whose config has no rules.
    for (const host of [at.host, at.open({ config: HostConfig.parse({}) })]) {
      const fork = await host.fork(run.runId, { at: said, grant: at.grant, signal });
      expect(fork).toMatchObject({ code: "guardrail.output", answer: expect.not.stringContaining("sesame") });
    }
    const told = await at.host.fork(run.runId, { at: 1, message: "Sesame?", grant: at.grant, signal });
    expect(told).toMatchObject({ code: "guardrail.input", turns: 0 });
    const lawful = await at.host.fork(run.runId, { at: 1, message: "Wheat?", grant: at.grant, signal });
    expect(lawful).toMatchObject({ code: "guardrail.output", turns: 1 });
  });

  test.each(["block", "redact"] as const)(
    "is nothing over words that a rule (%s) forbids which came later",
    async (action) => {
      const provider = scripted([{ text: "One." }]);
      await using at = await openTestHost({ tools: [], provider });
      const { runId } = await at.start("Say what Sesame is.", { context: "Open, Sesame." });
      const rules = [{ name: "secret", on: ["input" as const], words: ["sesame"], action }];
      const host = at.open({ config: HostConfig.parse({ guardrails: { rules } }) });
      const { signal } = new AbortController();
      const fork = (on: typeof host, ofRun: string, seq: number) =>
        on.fork(ofRun, { at: seq, grant: at.grant, signal });
      const asked = provider.requests.length;
      const { length } = await at.events(runId);
      for (const seq of [1, 2, length]) {
        const outcome = await fork(host, runId, seq);
        expect(outcome).toMatchObject({ status: "refused", code: "guardrail.input", turns: seq === length ? 1 : 0 });
        const { events } = await at.host.load(outcome.runId);
        const before = expect.stringContaining(`event 1 of ${runId}`);
        expect(events).toContainEqual(expect.objectContaining({ rule: "secret", action: "blocked", message: before }));
        expect(await at.host.replay(outcome.runId)).toMatchObject({ ok: true });
        // Nor is a fork of that, or what goes on after it.
        expect(await fork(host, outcome.runId, 1)).toMatchObject({ code: "guardrail.input" });
        const next = { task: "And?", conversation: outcome.runId, model: "scripted", grant: at.grant, signal };
        expect(await host.start(next)).toMatchObject({ status: "refused", code: "guardrail.input" });
      }
      expect(provider.requests).toHaveLength(asked);
      expect(await fork(at.host, runId, 1)).toMatchObject({ status: "done" });

      // What was held against the rule when it came is not held against it again.
      const clean = await host.start({ task: "Wheat [redacted].", model: "scripted", grant: at.grant, signal });
      expect(await fork(host, clean.runId, 1)).toMatchObject({ status: "done" });
      const next = { task: "And?", conversation: clean.runId, model: "scripted", grant: at.grant, signal };
      expect(await host.start(next)).toMatchObject({ status: "done" });
    },
  );

  test("is nothing for who may not see the run", async () => {
    const { opening } = openCounted(harm);
    await using at = await opening;
    const { runId } = await at.start("go");
    const { signal } = new AbortController();
    const other = { org: localPrincipal.org, user: "somebody" };
    const theirs = at.open({ principal: other });
    await expect(theirs.fork(runId, { at: 1, grant: { ...at.grant, principal: other }, signal })).rejects.toMatchObject(
      {
        code: "run.not_found",
      },
    );
    await expect(theirs.verify(runId)).rejects.toMatchObject({ code: "run.not_found" });
    const blind = { ...at.grant, id: newId("grant"), rights: { ...at.grant.rights, runs: ["create" as const] } };
    await expect(at.host.fork(runId, { at: 1, grant: blind, signal })).rejects.toMatchObject({
      code: "permission.no_right",
    });
    expect(await at.host.fork(runId, { at: 1, drives: false, grant: at.grant, signal })).toBeDefined();
  });

  test("is nothing for a token beside the one that the run was started under, and what it was for that one", async () => {
    const { opening } = openCounted([{ text: "The end." }]);
    await using at = await opening;
    const ancestors = [{ id: at.grant.id, limits: {} }];
    const [one, beside] = [newId("grant"), newId("grant")].map((id) => ({ ...at.grant, id, ancestors }));
    if (one === undefined || beside === undefined) throw new Error("There are no grants.");
    const { runId } = await at.start("A secret.", { grant: one });
    const fork = (grant: typeof one) => at.host.fork(runId, { at: 1, grant, signal: new AbortController().signal });
    await expect(fork(beside)).rejects.toMatchObject({ code: "run.not_found" });
    expect(await fork(one)).toMatchObject({ status: "done" });
    expect(await fork(at.grant)).toMatchObject({ status: "done" });
  });
});

function toTexts(messages: readonly unknown[]): string[] {
  return messages.flatMap((message) => {
    const text = /"role":"user".*?"text":"(.*?)"/.exec(JSON.stringify(message))?.[1];
    return text === undefined ? [] : [text];
  });
}

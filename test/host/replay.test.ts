import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import { newId } from "../../src/core/id.ts";
import { localScope } from "../../src/core/scope.ts";
import type { Provider } from "../../src/host/provider.ts";
import { hashEvent, noEventHash } from "../../src/store/event-chain.ts";
import { testTool } from "../support/door.ts";
import { tempFolder } from "../support/temp.ts";
import { stepTool, worker } from "./context/worker.ts";
import { dyingAfter } from "./dying.ts";
import type { TestHostOptions, Turn } from "./scripted.ts";
import { failing, openTestHost, scripted } from "./scripted.ts";

const { signal } = new AbortController();
const large = "large ".repeat(5_000);
const tools = (["read", "idempotent", "once"] as const).map((effect) =>
  testTool(effect, { effect, run: async ({ text }) => ({ type: "done", value: text === "" ? large : text }) }),
);
const turns: readonly Turn[] = [
  {
    text: large,
    calls: [
      ["read", {}],
      ["once", { text: "b" }],
      ["read", "{no JSON"],
      ["nothing", {}],
    ],
  },
  { calls: [["idempotent", { text: "c" }]] },
  { text: `The end. ${large}` },
];

type Home = Awaited<ReturnType<typeof openTestHost>>;

/** Nothing behind it but the store, and that to read from. */
function readOnly(at: Home) {
  const never = (): never => {
    throw new Error("A replay performs nothing.");
  };
  return at.open({
    store: { ...at.store, commit: never, putBlob: never },
    door: { ...at.door, call: never, list: never },
    openProvider: never,
  });
}

const asking = ({ grant }: Home) => ({
  ...{ ...grant, id: newId("grant") },
  rights: { ...grant.rights, tools: grant.rights.tools.map((right) => ({ ...right, ask: right.name === "once" })) },
});

/** Runs of every kind, each by its id. */
const kinds: readonly (readonly [string, Partial<TestHostOptions>, (at: Home) => Promise<string>])[] = [
  ["that came to its end", {}, async (at) => (await at.start("go")).runId],
  ["that had context from outside", {}, async (at) => (await at.start("go", { context: large })).runId],
  ["that waits for a person", {}, async (at) => (await at.start("go", { grant: asking(at) })).runId],
  ...(["approve", "deny"] as const).map(
    (word) =>
      [
        `in which a person said ${word}`,
        {},
        async (at: Home) => {
          const grant = asking(at);
          const { runId, pending } = await at.start("go", { grant });
          for (const { callId } of pending) {
            if (word === "approve") await at.host.approve(runId, callId, at.grant);
            else await at.host.deny(runId, callId, "No.", at.grant);
          }
          return (await at.resume(runId, { grant })).runId;
        },
      ] as const,
  ),
  [
    "that was cancelled",
    {},
    async (at) => {
      const { runId } = await at.start("go", { grant: asking(at) });
      await at.host.cancel(runId, "Enough.", at.grant);
      return (await at.resume(runId)).runId;
    },
  ],
  ["that used its turns", {}, async (at) => (await at.start("go", { limits: { turns: 1 } })).runId],
  [
    "whose model can't be reached",
    { provider: failing(new CapstanError("provider.unavailable", "Gone.")) },
    async (at) => (await at.start("go")).runId,
  ],
  [
    "that was interrupted at its beginning",
    {},
    async (at) => {
      const { runId } = await at.start("go", { signal: AbortSignal.abort() });
      return (await at.resume(runId)).runId;
    },
  ],
  [
    "that continues another",
    {},
    async (at) => {
      const { runId } = await at.start("go");
      return (await at.start("and now?", { conversation: runId })).runId;
    },
  ],
  [
    "that is a fork",
    {},
    async (at) => {
      const { runId } = await at.start("go");
      const point = (await at.events(runId)).findIndex(({ type }) => type === "tool.requested") + 1;
      const fork = await at.host.fork(runId, { at: point, message: "and now?", grant: at.grant, signal });
      for (const { callId } of fork.pending) await at.host.deny(fork.runId, callId, "No.", at.grant);
      return fork.runId;
    },
  ],
  [
    "that was imported",
    {},
    async (at) => {
      const { runId } = await at.start("go");
      const point = (await at.events(runId)).findIndex(({ type }) => type === "tool.requested") + 1;
      const fork = await at.host.fork(runId, { at: point, message: "and now?", grant: at.grant, signal });
      return await at.host.importRun(at.host.exportRun(fork.runId), { name: "theirs", grant: at.grant });
    },
  ],
];

describe("a replay", () => {
  test.each(kinds)("makes the same log of a run %s, and performs nothing", async (_, over, make) => {
    await using at = await openTestHost({ tools, provider: scripted(turns), ...over });
    const runId = await make(at);
    const { length } = await at.events(runId);
    const { head } = await at.host.verify(runId);
    expect(await readOnly(at).replay(runId)).toEqual({ runId, ok: true, events: length, head });
  });

  test.each([
    ["by its model", true],
    ["by extraction", false],
  ])("makes the same log of a run whose context was summed up %s", async (_, metered) => {
    const { provider } = worker({ steps: 30, counts: true, ...(metered ? {} : { summary: () => " " }) });
    const config = { models: { scripted: { windowTokens: 4_000 } }, resultTokens: 500 };
    await using at = await openTestHost({ tools: [stepTool(600).tool], provider, config });
    const { runId } = await at.start("Do all steps.", { limits: { turns: 100 } });
    const events = await at.events(runId);
    expect(events.filter(({ type }) => type === "context.compacted").length).toBeGreaterThan(1);
    expect(await readOnly(at).replay(runId)).toMatchObject({ ok: true, events: events.length });
  });

  test("makes the same log of a run that died, wherever that was", async () => {
    const places: number[] = [];
    for (let commits = 1; commits < 16; commits += 1) {
      await using at = await openTestHost({ tools, provider: scripted(turns) });
      const dying = at.open(dyingAfter(at.store, commits));
      const runId = newId("run");
      await dying.start({ task: "go", model: "scripted", grant: at.grant, signal, runId }).catch(() => {});
      const died = await readOnly(at).replay(runId);
      const { pending } = await at.resume(runId).catch(() => ({ pending: [] }));
      for (const { callId } of pending) await at.host.approve(runId, callId, at.grant);
      await at.resume(runId).catch(() => {});
      const replayed = await readOnly(at).replay(runId);
      expect([commits, died.difference, replayed.difference]).toEqual([commits, undefined, undefined]);
      expect((await at.host.load(runId)).run.status).toBe("done");
      places.push(died.events);
    }
    expect(new Set(places).size).toBeGreaterThan(5);
  });
});

/** Changes a log and chains it anew, so that its chain is whole: as if other code had written it. */
function rewrite(home: string, runId: string, change: (body: string) => string): void {
  using db = new DatabaseSync(join(home, "state.db"));
  let hash = noEventHash;
  let seq = 0;
  const rows = db.prepare("select seq, at, body, large from events where run = ? order by seq").all(runId);
  db.prepare("delete from events where run = ?").run(runId);
  const insert = db.prepare("insert into events (scope, run, seq, at, body, large, hash) values (?, ?, ?, ?, ?, ?, ?)");
  for (const { at, body: before, large: places } of rows) {
    const body = change(String(before));
    if (body === "") continue;
    seq += 1;
    const row = { seq, at: Number(at), body, large: places === null ? null : String(places) };
    hash = hashEvent(hash, { scope: localScope, runId }, row);
    insert.run("local/default", runId, seq, row.at, body, row.large, Buffer.from(hash, "hex"));
  }
}

describe("a replay of what today's code would not write", () => {
  const provider: Provider = scripted([
    {
      calls: [
        ["once", { text: "b" }],
        ["read", "{no JSON"],
      ],
    },
    { text: "The end." },
  ]);

  test.each<[string, (body: string) => string, RegExp, RegExp]>([
    [
      "the context of another",
      (body) => body.replace(/"contextHash":"\w/, '"contextHash":"z'),
      /"contextHash":"z/,
      /"contextHash":"\w{64}"/,
    ],
    [
      "another id of a call",
      (body) => body.replaceAll(/"callId":"call_\w/g, '"callId":"call_z'),
      /call_z/,
      /not this event, but: \[\{"type":"call_model"/,
    ],
    ["another turn", (body) => body.replace('"turn":2', '"turn":3'), /"turn":3/, /"turn":2/],
    [
      "another tool",
      (body) => body.replace(/("tool.requested".*)"name":"once"/, '$1"name":"read"'),
      /"name":"read"/,
      /"name":"once"/,
    ],
    [
      "another end of a call without a tool",
      (body) => body.replace("Send one JSON object", "Send two"),
      /Send two/,
      /Send one JSON object/,
    ],
    [
      "another end",
      (body) => body.replace('"status":"done"', '"status":"failed"'),
      /"status":"failed"/,
      /"status":"done"/,
    ],
    ["another answer", (body) => body.replace('"answer":"The end."', '"answer":"No end."'), /No end/, /The end/],
    [
      "an end too early",
      (body) =>
        body.includes('"turn":2')
          ? '{"type":"run.finished","status":"done","answer":""}'
          : /answered|finished"|offered/.test(body) && !body.includes("tool")
            ? ""
            : body,
      /run.finished/,
      /not this event, but: .*call_model/,
    ],
    [
      "a call that nobody asked for",
      (body) => body.replace(/"type":"tool.requested","callId":"\w+"/, '"type":"tool.requested","callId":"call_other"'),
      /call_other/,
      /not this event/,
    ],
  ])("shows the first event with %s", async (_, change, expected, got) => {
    await using home = await tempFolder();
    await using at = await openTestHost({ tools, provider, home: home.path });
    const { runId } = await at.start("go");
    expect(await at.host.replay(runId)).toMatchObject({ ok: true });
    rewrite(home.path, runId, change);
    const { ok, events, difference } = await at.host.replay(runId);
    expect([ok, difference?.seq]).toEqual([false, events + 1]);
    expect(difference?.expected).toMatch(expected);
    expect(difference?.got).toMatch(got);
  });

  test("does not show that an older store holds large texts within their events", async () => {
    await using home = await tempFolder();
    await using at = await openTestHost({ tools, provider: scripted(turns), home: home.path });
    const { runId } = await at.start("go");
    const bodies = (await at.events(runId)).map(({ v: _v, scope: _scope, runId: _run, seq, at: _at, ...body }) => ({
      seq,
      body,
    }));
    {
      using db = new DatabaseSync(join(home.path, "state.db"));
      const inline = db.prepare(
        "update events set body = ?, large = null where run = ? and seq = ? and large is not null",
      );
      for (const { seq, body } of bodies) inline.run(JSON.stringify(body), runId, seq);
    }
    rewrite(home.path, runId, (body) => body);
    expect(await at.host.replay(runId)).toMatchObject({ ok: true, events: bodies.length });
  });

  test.each([
    ["is no JSON", (body: string) => body.slice(1)],
    ["is no event", (body: string) => body.replace('"type":"model.answered"', '"type":"model.said"')],
  ])("says so of a log in which something %s", async (_, change) => {
    await using home = await tempFolder();
    await using at = await openTestHost({ tools, provider, home: home.path });
    const { runId } = await at.start("go");
    rewrite(home.path, runId, (body) => (body.includes("model.answered") ? change(body) : body));
    await expect(at.host.replay(runId)).rejects.toMatchObject({
      code: expect.stringMatching(/^(?:run|store)\.corrupt$/),
    });
  });

  test("shows nothing of a run to who may not see it", async () => {
    await using at = await openTestHost({ tools, provider });
    const { runId } = await at.start("go");
    const theirs = at.open({ principal: { org: "local", user: "somebody" } });
    await expect(theirs.replay(runId)).rejects.toMatchObject({ code: "run.not_found" });
  });
});

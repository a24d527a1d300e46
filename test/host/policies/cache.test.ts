import { DatabaseSync } from "node:sqlite";
import { writeFile, mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { localPrincipal, localScope } from "../../../src/core/scope.ts";
import { HostConfig } from "../../../src/host/config.ts";
import { openPolicies } from "../../../src/host/policies/all.ts";
import { openCacheStore } from "../../../src/host/policies/cache-store.ts";
import type { CacheOwner } from "../../../src/host/policies/cache.ts";
import { Cache } from "../../../src/host/policies/config.ts";
import type { ModelRequest, Provider } from "../../../src/host/provider.ts";
import { handClock } from "../../support/clock.ts";
import { tempFolder } from "../../support/temp.ts";
import { free, toEvents } from "../scripted.ts";
import type { Turn } from "../scripted.ts";
import { ask, simpleRequest } from "./faulty.ts";

const both = ["memory", "sqlite"] as const;
const tool = { name: "echo", description: "", inputSchema: { type: "object" } };

/** A model that counts how often it is asked, and says so. */
function counting(turn: Turn = {}, identity = "endpoint 1"): Provider & { readonly asked: () => number } {
  let asked = 0;
  return {
    name: "x",
    identity,
    metered: true,
    async *stream() {
      asked += 1;
      const usage = { ...free, inputUncached: 50, output: 10 };
      for (const event of toEvents({ text: `answer ${asked}`, ...turn })) {
        yield event.type === "message.ended" ? { ...event, usage } : event;
      }
    },
    asked: () => asked,
  };
}

async function openCached(cache: object, over: Partial<CacheOwner> = {}) {
  await using opened = new AsyncDisposableStack();
  const home = over.home ?? opened.use(await tempFolder()).path;
  const clock = handClock();
  const open = (model: Provider, owner: Partial<CacheOwner> = {}) =>
    openPolicies({
      config: HostConfig.parse({ cache }),
      open: () => model,
      owner: { home, scope: localScope, principal: localPrincipal, clock, ...over, ...owner },
    });
  const owned = opened.move();
  return { home, clock, open, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const kinds = (notices: readonly { readonly type: string }[]) => notices.map(({ type }) => type);

describe.each(both)("the cache of answers in %s", (store) => {
  test("gives an answer again, which costs nothing and streams", async () => {
    await using at = await openCached({ store });
    const model = counting();
    await using policies = at.open(model);
    const provider = policies.openProvider("x:a");
    const first = await ask(provider, { ...simpleRequest, cacheKey: "run_1" });
    expect(first).toMatchObject({ error: null, notices: [{ type: "cache_miss", model: "x:a" }] });
    at.clock.advance(1_500);
    const again = await ask(provider, { ...simpleRequest, cacheKey: "run_2" });
    expect(again.events).toEqual([
      { type: "notice", notice: { type: "cache_hit", model: "x:a", ageMs: 1_500 } },
      { type: "text.delta", text: "answer 1" },
      { type: "message.ended", parts: [{ type: "text", text: "answer 1" }], stop: "end", usage: free },
    ]);
    expect(model.asked()).toBe(1);
  });

  test("never gives it to another user, endpoint or credential, nor for another request (B51)", async () => {
    await using at = await openCached({ store: "sqlite" });
    const base = simpleRequest;
    const others: readonly (readonly [string, Partial<CacheOwner>, string, Partial<ModelRequest>])[] = [
      ["another user", { principal: { org: "local", user: "eve" } }, "endpoint 1", {}],
      ["another organization", { principal: { org: "other", user: localPrincipal.user } }, "endpoint 1", {}],
      ["another project", { scope: { org: "local", project: "other" } }, "endpoint 1", {}],
      ["another base URL or credential", {}, "endpoint 2", {}],
      ["another model", {}, "endpoint 1", { model: "n" }],
      ["another system prompt", {}, "endpoint 1", { system: "Be short." }],
      ["other settings", {}, "endpoint 1", { settings: { temperature: 1 } }],
      ["another schema", {}, "endpoint 1", { answerSchema: { type: "object" } }],
      ["another message", {}, "endpoint 1", { messages: [{ role: "user", content: [{ type: "text", text: "Say" }] }] }],
    ];
    const secret = counting({ text: "the secret of the first" });
    await using own = at.open(secret);
    await ask(own.openProvider("x:a"), base);
    for (const [who, owner, identity, over] of others) {
      const model = counting({}, identity);
      await using policies = at.open(model, owner);
      const { notices, events } = await ask(policies.openProvider("x:a"), { ...base, ...over });
      expect([who, kinds(notices), model.asked()]).toEqual([who, ["cache_miss"], 1]);
      expect(JSON.stringify(events)).not.toContain("secret");
    }
    // The same user at the same endpoint, in another process.
    const model = counting();
    await using neighbour = at.open(model);
    const { notices } = await ask(neighbour.openProvider("x:a"), base);
    expect([kinds(notices), model.asked()]).toEqual([["cache_hit"], 0]);
  });

  test("keeps only whole answers, and of turns with tools none unless it is told to", async () => {
    await using at = await openCached({ store });
    const turns: readonly Turn[] = [
      { stop: "length" },
      { stop: "refusal" },
      { stop: "filtered" },
      { text: " " },
      { calls: [["echo", {}]] },
    ];
    for (const turn of turns) {
      const model = counting(turn);
      await using policies = at.open(model);
      const provider = policies.openProvider("x:a");
      for (const _ of [1, 2]) expect(kinds((await ask(provider)).notices)).toEqual(["cache_miss"]);
      expect(model.asked()).toBe(2);
    }
    const model = counting();
    await using policies = at.open(model);
    for (const _ of [1, 2]) {
      expect((await ask(policies.openProvider("x:a"), { ...simpleRequest, tools: [tool] })).notices).toEqual([]);
    }
    expect(model.asked()).toBe(2);
  });

  test("keeps turns with tools where it is told to, whichever run made the calls", async () => {
    await using at = await openCached({ store, toolTurns: true });
    const model = counting({ calls: [["echo", { text: "hi" }]] });
    await using policies = at.open(model);
    const provider = policies.openProvider("x:a");
    const inRun = (callId: string): ModelRequest => ({
      ...simpleRequest,
      tools: [tool],
      messages: [
        ...simpleRequest.messages,
        { role: "assistant", parts: [{ type: "tool_call", callId, name: "echo", argumentsText: "{}" }] },
        { role: "tool", callId, name: "echo", outcome: { isError: false, value: "hi" } },
      ],
    });
    expect(kinds((await ask(provider, inRun("call_1"))).notices)).toEqual(["cache_miss"]);
    const { events } = await ask(provider, inRun("call_2"));
    expect(events).toMatchObject([
      { notice: { type: "cache_hit" } },
      { type: "text.delta" },
      { type: "tool.started", name: "echo", index: 0 },
      { type: "tool.ready", name: "echo", argumentsText: '{"text":"hi"}' },
      { type: "message.ended", stop: "tool" },
    ]);
    expect(model.asked()).toBe(1);
  });

  test("lets go what is too old, and what was used longest ago", async () => {
    await using folder = await tempFolder();
    await using aged = await openCacheStore(folder.path, Cache.parse({ store, ttlMs: 1 }));
    await aged.set("a", "old");
    await wait(20);
    expect(await aged.get("a")).toBeNull();
    await using other = await tempFolder();
    await using few = await openCacheStore(other.path, Cache.parse({ store, entries: 3 }));
    for (const key of ["a", "b", "c"]) await few.set(key, key);
    await few.get("a");
    await few.set("d", "d");
    expect(await Promise.all(["a", "b", "c", "d"].map((key) => few.get(key)))).toEqual(["a", null, "c", "d"]);
    const large = "x".repeat(400_000);
    await using third = await tempFolder();
    await using small = await openCacheStore(third.path, Cache.parse({ store, megabytes: 1 }));
    for (const key of ["a", "b", "c"]) await small.set(key, large);
    const left = await Promise.all(["a", "b", "c"].map(async (key) => (await small.get(key)) !== null));
    expect(left).toEqual([false, true, true]);
    await small.set("d", large.repeat(4));
    expect(await small.get("d")).toBeNull();
  });
});

describe("a cache of answers that is damaged", () => {
  test("takes entries that it can't read for none", async () => {
    await using at = await openCached({ store: "sqlite" });
    const model = counting();
    await using policies = at.open(model);
    await ask(policies.openProvider("x:a"));
    const db = new DatabaseSync(join(at.home, "cache/answers.db"));
    const kept = String(db.prepare("select value from answers").get()?.["value"]);
    const damaged = [
      "",
      "{",
      "null",
      "[]",
      '{"value":"{}"}',
      '{"value":"null"}',
      kept.replace("answer", 'answer"'),
      kept.replaceAll("text", "toxt"),
    ];
    for (const value of damaged) {
      db.prepare("update answers set value = ?").run(value);
      expect(kinds((await ask(policies.openProvider("x:a"))).notices)).toContain("cache_miss");
    }
    db.close();
    expect(model.asked()).toBe(1 + damaged.length);
    expect(kinds((await ask(policies.openProvider("x:a"))).notices)).toEqual(["cache_hit"]);
    expect(((await stat(join(at.home, "cache/answers.db"))).mode & 0o077).toString(8)).toBe("0");
  });

  test("is gone without, and says so", async () => {
    await using at = await openCached({ store: "sqlite" });
    await mkdir(join(at.home, "cache"));
    await writeFile(
      join(at.home, "cache/answers.db"),
      "this is no database, and longer than its header would be".repeat(100),
    );
    await using policies = at.open(counting());
    const { error, notices } = await ask(policies.openProvider("x:a"));
    expect(error).toBeNull();
    expect(notices).toMatchObject([
      { type: "degraded", message: expect.stringContaining("answers.db") },
      { type: "cache_miss" },
    ]);
  });
});

test("a cache is off unless the config has one", async () => {
  await using at = await openCached({});
  const model = counting();
  await using policies = at.open(model);
  for (const _ of [1, 2]) expect((await ask(policies.openProvider("x:a"))).notices).toEqual([]);
  expect(model.asked()).toBe(2);
});

import { describe, expect, test } from "vitest";
import type { RunInput } from "../../src/core/event.ts";
import { tempFolder } from "../support/temp.ts";
import { codeOf, codesOf, otherScope, said, scope, stores } from "./stores.ts";

const cancel = (reason: string): RunInput => ({ type: "cancel", reason });

describe.each(stores)("the inbox in $name", ({ open }) => {
  test("gives a run its inputs, the oldest first, until they are taken", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await store.commit({
      scope,
      inbox: [
        { runId: "r", input: cancel("1") },
        { runId: "other", input: cancel("2") },
      ],
    });
    await store.commit({ scope, inbox: [{ runId: "r", input: cancel("3") }] });
    await store.commit({ scope: otherScope, inbox: [{ runId: "r", input: cancel("4") }] });
    const [first, second, ...rest] = await store.inbox(scope, "r");
    expect([first?.input, second?.input, rest]).toEqual([cancel("1"), cancel("3"), []]);

    await store.commit({ scope, runId: "r", afterSeq: 0, events: [said("taken")], taken: [first?.id ?? 0] });
    expect(await store.inbox(scope, "r")).toEqual([second]);
    expect(await store.inbox(otherScope, "r")).toHaveLength(1);
    expect(await store.inbox(scope, "other")).toHaveLength(1);
  });

  test("lets an input be taken once", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await store.commit({ scope, inbox: [{ runId: "r", input: cancel("1") }] });
    const taken = (await store.inbox(scope, "r")).map(({ id }) => id);
    const take = (key: string) => store.commit({ scope, taken, records: [{ kind: "k", key, value: 1 }] });
    expect(await codesOf([take("a"), take("b")])).toEqual({ done: 1, "store.conflict": 1 });
    expect(await store.records(scope, "k")).toHaveLength(1);

    await store.commit({ scope, inbox: [{ runId: "r", input: cancel("2") }] });
    expect(await codeOf(take("c"))).toBe("store.conflict");
    expect((await store.inbox(scope, "r")).map(({ input }) => input)).toEqual([cancel("2")]);
  });

  test("is not taken from another scope", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await store.commit({ scope, inbox: [{ runId: "r", input: cancel("1") }] });
    const taken = (await store.inbox(scope, "r")).map(({ id }) => id);
    expect(await codeOf(store.commit({ scope: otherScope, taken }))).toBe("store.conflict");
    expect(await codeOf(store.commit({ scope, taken }))).toBe("done");
  });
});

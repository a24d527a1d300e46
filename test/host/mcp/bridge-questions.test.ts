import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { kinds } from "./bridge-asked.ts";
import type { Front } from "./bridge-fronts.ts";
import { type Bridged, frontKinds, official, openBridged } from "./bridge-support.ts";

// Both eras behind, each client in front: one Capstan for all of them.
let bridged: Bridged;
beforeAll(async () => {
  bridged = await openBridged({ old: official("old"), new: official("new") });
});
afterAll(() => bridged[Symbol.asyncDispose]());

const all = {
  form: { action: "accept", content: { size: 4 } },
  url: { action: "accept" },
  sampling: { role: "assistant", model: "m", content: { type: "text", text: "hi" } },
  roots: { roots: [{ uri: "file:///srv" }] },
};
const Who = z.object({ seen: z.object({ open: z.int(), cancelled: z.int() }) });

/** The calls of the server for the operator: how many wait now, and how many were cancelled so far. */
async function seenBy(front: Front, server: string): Promise<z.infer<typeof Who>["seen"]> {
  return Who.parse(JSON.parse(await front.call(`${server}__who`))).seen;
}

const pairs = frontKinds.flatMap((front) => (["old", "new"] as const).map((behind) => [front, behind] as const));

const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && "code" in thrown ? String(thrown.code) : "no code";

describe.each(pairs)("a client in front (%s) of a server behind (%s)", (kind, behind) => {
  const ask = `${behind}__ask`;

  test("answers each kind of question, and is told who asks", async () => {
    await using front = await bridged.front(kind);
    for (const asked of kinds) {
      expect(JSON.parse(await front.call(ask, { kinds: [asked], rounds: 1 }))).toEqual([{ [asked]: all[asked] }]);
    }
    const messages = [`form: ${behind} asks: Which size?`, `url: ${behind} asks: Sign in.`];
    expect(front.asked).toEqual([...messages, "sampling", "roots"]);
  });

  test("answers several questions at once, and again in a second round", async () => {
    await using front = await bridged.front(kind);
    expect(JSON.parse(await front.call(ask, { kinds, rounds: 2 }))).toEqual([all, all]);
    expect(front.asked).toHaveLength(2 * kinds.length);
  });

  test.each(["decline", "cancel"] as const)("passes on that a person says %s", async (action) => {
    await using front = await bridged.front(kind, { action });
    const told = JSON.parse(await front.call(ask, { kinds: ["form", "url"], rounds: 1 }));
    expect(told).toEqual([{ form: { action }, url: { action } }]);
  });

  test("is asked nothing that it can't answer: the call ends, typed, and is not left open behind", async () => {
    await using front = await bridged.front(kind, { can: { elicitation: { form: {} } } });
    for (const asked of ["url", "sampling", "roots"]) {
      const ended = await front.call(ask, { kinds: [asked], rounds: 1 }).catch(codeOf);
      expect(ended).toMatch(kind.startsWith("2025") ? /^!tool\.input_needed: / : /^-32021$/);
    }
    expect(JSON.parse(await front.call(ask, { kinds: ["form"], rounds: 1 }))).toEqual([{ form: all.form }]);
    expect(front.asked).toHaveLength(1);
    expect((await seenBy(front, behind)).open).toBe(0);
  });

  test("is asked by a resource and by a prompt too", async () => {
    await using front = await bridged.front(kind);
    expect(await front.read(`${behind}+note://asks`)).toContain('"size":4');
    expect(await front.prompt(`${behind}__asks`)).toContain('"size":4');
    expect(front.asked).toEqual(Array(2).fill(`form: ${behind} asks: Which size?`));
  });
});

test.each(frontKinds)(
  "a client (%s) is asked what it can answer of an older server's questions, the others are declined",
  async (kind) => {
    await using front = await bridged.front(kind, { can: { elicitation: { form: {} } } });
    const told = JSON.parse(await front.call("old__ask", { kinds: ["form", "url"], rounds: 1 }));
    expect(told).toEqual([{ form: all.form, url: { action: "decline" } }]);
    expect(front.asked).toHaveLength(1);
  },
);

describe.each(frontKinds.filter((kind) => kind.startsWith("2025")))("a client that is gone (%s)", (kind) => {
  test("while a question is open takes the call behind with it", async () => {
    await using other = await bridged.front("2026, v2, stdio");
    const before = await seenBy(other, "old");
    const front = await bridged.front(kind, { thinking: new Promise(() => {}) });
    const call = front.call("old__ask", { kinds: ["form"], rounds: 1 }).catch(() => "gone");
    await expect.poll(() => front.asked.length).toBe(1);
    expect((await seenBy(other, "old")).open).toBe(before.open + 1);
    await front[Symbol.asyncDispose]();
    expect(await call).toBe("gone");
    // On stdio, requests that were read may go on for a second after the end of input.
    const expected = { open: before.open, cancelled: before.cancelled + 1 };
    await expect.poll(() => seenBy(other, "old")).toEqual(expected);
  });
});

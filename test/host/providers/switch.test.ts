import { describe, expect, test } from "vitest";
import type { ContextMessage } from "../../../src/core/run.ts";
import { spokenWires } from "./all.ts";
import type { HeardTurn, Said, SpokenWire, Story } from "./story.ts";
import type { Ended } from "./tell.ts";
import { ask, endOf, openTeller, request } from "./tell.ts";

const picture = "iVBORw0KGgo=";
const user = (words: string): ContextMessage => ({ role: "user", content: [{ type: "text", text: words }] });
const call = (id: string, text: string): Said => ({
  type: "call",
  id,
  name: "echo",
  pieces: [JSON.stringify({ text })],
});
const thought = (words: string): Said => ({ type: "reasoning", pieces: [words] });
const text = (words: string): Said => ({ type: "text", pieces: [words] });

/** An answer as a run keeps it, with ids of its own for the calls, and a result to each of them. */
function toMessages({ parts, raw }: Ended, prefix: string): readonly ContextMessage[] {
  let calls = 0;
  const ours = parts.map((part) => (part.type === "tool_call" ? { ...part, callId: `${prefix}_${calls++}` } : part));
  const results = ours.flatMap((part): readonly ContextMessage[] => {
    if (part.type !== "tool_call") return [];
    const { callId, name, argumentsText } = part;
    const content = [
      { type: "text" as const, text: `said ${argumentsText}` },
      { type: "image" as const, mimeType: "image/png", data: picture },
    ];
    return [{ role: "tool", callId, name, outcome: { isError: false, content } }];
  });
  return [{ role: "assistant", parts: ours, ...(raw === undefined ? {} : { raw }) }, ...results];
}

/** One model at one endpoint, which gives this answer again and again, and reads what it is asked. */
async function openModel(wire: SpokenWire, model: string, story: Story) {
  const server = await openTeller(wire, wire.encode(story));
  return {
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    async say(messages: readonly ContextMessage[]) {
      const ended = endOf(await ask(wire, server.baseUrl, { ...request, model, messages }));
      const body = server.requests.at(-1)?.body ?? "";
      return { ended, body, turns: wire.hear(JSON.parse(body)).turns };
    },
  };
}

/** What is kept of an answer in its own form, as text that must or must not be found. */
const verbatim = ({ raw }: Ended): string => (raw === undefined ? "" : JSON.stringify(raw.blocks).slice(1, -1));

const idsOf = (turns: readonly HeardTurn[]) => ({
  calls: turns.flatMap((turn) => (turn.role === "assistant" ? turn.calls.map(({ id }) => id) : [])),
  results: turns.flatMap((turn) => (turn.role === "tool" ? [turn.id] : [])),
});

const pairs = spokenWires.flatMap((from) =>
  spokenWires.map((to) => ({ from, to, before: from.dialect.type, after: to.dialect.type })),
);

describe.each(pairs)("a conversation begun with $before and gone on with $after", ({ from, to }) => {
  const shown: readonly Said[] = from.can.images ? [{ type: "image", data: picture }] : [];
  const begun = {
    said: [thought("first secret thought"), text("So:"), ...shown, call("their_1", "one"), call("their_2", "two")],
  };
  // Ids of calls repeat between endpoints.
  const gone = { said: [thought("second secret thought"), text("Then:"), call("their_1", "three")] };

  test("is said in a form that each takes, without what the other alone can read, and to each in its own words", async () => {
    await using first = await openModel(from, "model-a", begun);
    await using second = await openModel(to, "model-b", gone);
    const asked = [user("Say it.")];
    const one = await first.say(asked);
    const answered = [...asked, ...toMessages(one.ended, "call_a")];

    const two = await second.say(answered);
    expect(two.body).not.toMatch(/secret thought|their_/);
    expect(two.body.includes(verbatim(one.ended))).toBe(one.ended.raw === undefined);
    const [a, b] = ["call_a_0", "call_a_1"].map(to.idOf);
    expect(two.turns.slice(0, 4)).toMatchObject([
      { role: "user", text: "Say it." },
      {
        role: "assistant",
        text: expect.stringMatching(shown.length === 0 ? /^So:$/ : /^So:\s*\(an image, image\/png\)$/),
        calls: [
          { id: a, args: { text: "one" } },
          { id: b, args: { text: "two" } },
        ],
      },
      { role: "tool", id: a, text: expect.stringMatching(/^said \{"text":"one"\}/) },
      { role: "tool", id: b, text: expect.stringMatching(/^said \{"text":"two"\}/) },
    ]);
    expect(two.turns.flatMap((turn) => ("images" in turn ? turn.images : []))).toEqual([picture, picture]);

    const three = await first.say([...answered, ...toMessages(two.ended, "call_b"), user("And?")]);
    expect(three.body).not.toContain("second secret thought");
    expect(three.body.includes(verbatim(two.ended))).toBe(two.ended.raw === undefined);
    const { calls, results } = idsOf(three.turns);
    expect(results).toEqual(calls);
    expect(calls).toHaveLength(3);
    expect(new Set(calls).size).toBe(from.can.ids ? 3 : 1);
    expect(three.turns.at(-1)).toMatchObject({ role: "user", text: expect.stringMatching(/And\?$/) });
  });
});

test.each(spokenWires.map((wire) => [wire.dialect.type, wire] as const))(
  "an id that %s gives to a call of each turn leaves each result with its call",
  async (_, wire) => {
    await using model = await openModel(wire, "model-a", { said: [thought("Hm."), call("their_1", "again")] });
    let messages = [user("Say it.")];
    for (const turn of ["one", "two", "three"]) {
      const { ended } = await model.say(messages);
      const [answer, ...results] = toMessages(ended, `call_${turn}`);
      const told = results.flatMap((result): readonly ContextMessage[] =>
        result.role === "tool"
          ? [{ ...result, outcome: { isError: false, content: [{ type: "text", text: turn }] } }]
          : [],
      );
      messages = [...messages, ...(answer === undefined ? [] : [answer]), ...told];
    }
    const { turns } = await model.say(messages);
    expect(turns.map(({ role }) => role)).toEqual([
      "user",
      ...["one", "two", "three"].flatMap(() => ["assistant", "tool"]),
    ]);
    for (const [place, turn] of ["one", "two", "three"].entries()) {
      const [asked, answered] = turns.slice(1 + 2 * place);
      expect(answered).toMatchObject({ role: "tool", text: turn });
      const [id] = asked?.role === "assistant" ? asked.calls.map((one) => one.id) : [];
      expect(answered?.role === "tool" && answered.id).toBe(id);
    }
  },
);

import { describe, expect, test } from "vitest";
import { testTool } from "../support/door.ts";
import { openTestHost, scripted, toEvents } from "./scripted.ts";

async function* lines(all: readonly string[]): AsyncGenerator<string> {
  yield* all;
}

describe("the log of a run", () => {
  test("has every half of a surrogate pair that a model or a tool said, in texts of any length", async () => {
    const half = "\ud83d";
    const said = [half, `\udc00 ${half}`];
    const long = (text: string): string => `${text}${"x".repeat(9_000)}${text}`;
    const read: string[] = [];
    const echo = testTool("echo", {
      run: async ({ text }) => (read.push(text), { type: "done", value: { [text]: long(text) } }),
    });
    const provider = scripted([
      { text: long(half), calls: said.map((text) => ["echo", { text }] as const) },
      { text: `The end ${half}` },
    ]);
    await using from = await openTestHost({ tools: [echo], provider });
    const { runId, answer } = await from.start(`Go ${half}.`, { context: half.repeat(9_000) });
    expect([answer, read]).toEqual([`The end ${half}`, said]);
    const events = await from.events(runId);
    const ends = events.flatMap((event) => (event.type === "tool.finished" ? [event.outcome.value] : []));
    expect(ends).toEqual(said.map((text) => ({ [text]: long(text) })));
    expect(events.find(({ type }) => type === "model.answered")).toMatchObject({
      parts: [{ text: long(half) }, ...said.map((text) => ({ argumentsText: JSON.stringify({ text }) }))],
    });
    const whole = async (host: typeof from.host, id: string) => [await host.verify(id), await host.replay(id)];
    expect(await whole(from.host, runId)).toMatchObject([{ ok: true, sealed: true }, { ok: true }]);

    const exported = await Array.fromAsync(from.host.exportRun(runId));
    // As a file has them: bytes.
    const file = exported.map((line) => Buffer.from(line).toString());
    expect(file).toEqual(exported);
    expect(await from.host.verify(runId, lines(file))).toMatchObject({ ok: true });
    await using at = await openTestHost({ tools: [echo], provider });
    const imported = await at.host.importRun(lines(file), { name: "theirs", grant: at.grant });
    const bodies = (all: typeof events) => all.slice(1).map((event) => ({ ...event, runId: "" }));
    expect(bodies(await at.events(imported))).toEqual(bodies(events));
    expect(await whole(at.host, imported)).toMatchObject([{ ok: true }, { ok: true }]);
  });

  test("has nothing that it would be read back without, whatever a tool, a model or its endpoint called __proto__", async () => {
    const odd = '{"__proto__":{"x":1},"a":[{"__proto__":2,"b":3}]}';
    const made: string[] = [];
    const echo = testTool("echo", {
      run: async ({ text }) => (made.push(text), { type: "done", value: JSON.parse(odd) }),
    });
    const properties = JSON.parse('{"text":{"type":"string"},"__proto__":{"type":"string"}}');
    const tool = { ...echo, inputSchema: { ...echo.inputSchema, properties } };
    const turns = [{ calls: [["echo", { text: "a" }] as const, ["echo", odd] as const] }, { text: "The end." }];
    const provider = scripted([], {
      async *stream({ messages }) {
        const raw = { wire: "w", model: "scripted", blocks: [JSON.parse(odd)] };
        for (const event of toEvents(turns[messages.length === 1 ? 0 : 1] ?? {})) {
          yield event.type === "message.ended" ? { ...event, raw } : event;
        }
      },
    });
    await using at = await openTestHost({ tools: [tool], provider });
    const { runId, answer } = await at.start("Go.");
    expect([answer, made]).toEqual(["The end.", ["a"]]);
    const events = await at.events(runId);
    const ends = events.flatMap((event) => (event.type === "tool.finished" ? [event.outcome] : []));
    expect(ends).toContainEqual({ value: { a: [{ b: 3 }] }, isError: false });
    expect(ends).toContainEqual(expect.objectContaining({ isError: true, code: "tool.bad_arguments" }));
    expect(events.find(({ type }) => type === "tools.offered")).not.toMatchObject({
      tools: expect.stringContaining("__proto__"),
    });
    expect(await at.host.replay(runId)).toMatchObject({ ok: true });
    const exported = await Array.fromAsync(at.host.exportRun(runId));
    await at.host.importRun(lines(exported), { name: "theirs", grant: at.grant });
  });
});

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { TextCallFormat } from "../../../src/host/text-calls/format.ts";
import { openHold } from "../../../src/host/text-calls/hold.ts";
import { findCalls } from "../../../src/host/text-calls/recognize.ts";
import { pureCases } from "../../support/cases.ts";

const call = '{"name":"echo","arguments":{"text":"hi"}}';
const found = (text: string, format: TextCallFormat) => findCalls(text, format).flatMap(({ calls }) => calls);
const echo = { name: "echo", args: { text: "hi" } };
const fence = (text: string, language = "json", ticks = "```"): string => `${ticks}${language}\n${text}\n${ticks}`;

describe("findCalls()", () => {
  test.each<[TextCallFormat, string, string]>([
    ["json", "an object", ` ${call}\n`],
    ["json", "a list", `[${call}]`],
    ["json", "what Llama writes", '<|python_tag|>{"name":"echo","parameters":{"text":"hi"}}'],
    ["json", "what Mistral writes", `[TOOL_CALLS] [${call}]`],
    ["json", "what Mistral writes now", '[TOOL_CALLS]echo[ARGS]{"text":"hi"}'],
    ["json", "arguments as text", '{"name":"echo","arguments":"{\\"text\\":\\"hi\\"}"}'],
    ["json", "the form of an API", `{"tool_calls":[{"id":"1","type":"function","function":${call}}]}`],
    ["json", "a call behind thoughts", `<think>Shall I?</think>\n${call}`],
    ["fenced", "a block", `Let me look.\n${fence(call)}\nDone.`],
    ["fenced", "a block of calls", fence(`[${call}]`, "tool_call")],
    ["fenced", "a block without a language, behind another", `${fence("x = 1", "python")}\n${fence(call, "")}`],
    ["xml", "tags", `Let me look. <tool_call>\n${call}\n</tool_call>`],
    ["auto", "tags that hold a closing tag in a text", `<tool_call>${call}</tool_call></tool_call>`],
  ])("finds as %s: %s", (format, _what, text) => {
    expect(found(text, format)).toEqual([echo]);
    expect(found(text, "auto")).toEqual([echo]);
  });

  test.each([
    ["JSON among words", `I call ${call}`],
    ["two objects", `${call}\n${call}`],
    ["a block within a block", fence(fence(call), "markdown", "````")],
    [
      "tags that a block stands between",
      `<tool_call>{"name":"echo",\n\`\`\`\n\`\`\`\n"arguments":{"text":"hi"}}</tool_call>`,
    ],
    ["tags within a block", fence(`<tool_call>${call}</tool_call>`, "")],
    ["a block that is not closed", `\`\`\`json\n${call}`],
    ["a block of another language", fence(call, "text")],
    ["a block that is set in", `  ${fence(call).replaceAll("\n", "\n  ")}`],
    ["tags that are not closed", `<tool_call>${call}`],
    ["tags around words", `<tool_call>Now ${call}</tool_call>`],
    ["thoughts", `<think>${fence(call)} <tool_call>${call}</tool_call></think> No.`],
    ["thoughts without an end", `<think>\n${call}`],
    ["arguments that are no object", '{"name":"echo","arguments":["hi"]}'],
    ["arguments that are no JSON", '{"name":"echo","arguments":"hi"}'],
    ["no arguments at all", '{"name":"echo"}'],
    ["arguments twice", '{"name":"echo","arguments":{},"parameters":{}}'],
    ["more than a call", '{"name":"echo","arguments":{},"why":"x"}'],
    ["a list with something else", `[${call}, 1]`],
    ["a name that is none", '{"name":{"a":1},"arguments":{}}'],
    ["data of that shape in words", `The file holds ${call}.`],
    ["JSON that is nested too deep", `{"name":"echo","arguments":${'{"a":'.repeat(300)}1${"}".repeat(301)}`],
  ])("finds no call in %s", (_what, text) => {
    expect(found(text, "auto")).toEqual([]);
  });

  test("reads no other format than the one it is told", () => {
    expect(found(call, "xml")).toEqual([]);
    expect(found(call, "fenced")).toEqual([]);
    expect(found(fence(call), "json")).toEqual([]);
    expect(found(fence(call), "xml")).toEqual([]);
    expect(found(`<tool_call>${call}</tool_call>`, "json")).toEqual([]);
    expect(found(`<tool_call>${call}</tool_call>`, "fenced")).toEqual([]);
  });

  test("takes linear time on text that is made against it", () => {
    const started = performance.now();
    for (const part of [
      "<tool_call>",
      "</tool_call>",
      "```json\n",
      "```\n{",
      "{",
      "[",
      "`",
      "<think>",
      "~~~\n",
      "```   ",
    ]) {
      const text = part.repeat(60_000 / part.length);
      findCalls(text, "auto");
      const hold = openHold("auto");
      for (let at = 0; at < text.length; at += 3) hold.push(text.slice(at, at + 3));
    }
    expect(performance.now() - started).toBeLessThan(20_000);
  });
});

describe("openHold()", () => {
  const piece = fc.constantFrom(
    ...[call, "<tool_call>", "</tool_call>", "```", "json", "tool_call", "\n", " ", "`", "<", "words", "<think>"],
    ...["</think>", "[", "{", "<|python_tag|>", fence(call), `<tool_call>${call}</tool_call>`, "~~~\n", "\r\n"],
  );
  const text = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(""));
  const format = fc.constantFrom<TextCallFormat>("json", "fenced", "xml", "auto");

  function push(whole: string, of: TextCallFormat, sizes: readonly number[]): string {
    const hold = openHold(of);
    let shown = "";
    for (let at = 0, turn = 0; at < whole.length; turn += 1) {
      const size = sizes[turn % sizes.length] ?? 1;
      shown += hold.push(whole.slice(at, at + size));
      at += size;
    }
    return shown;
  }

  test("lets nothing through that belongs to a call, however the text is cut", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 });
    const property = fc.property(text, format, sizes, (whole, of, cuts) => {
      const shown = push(whole, of, cuts);
      expect(whole.startsWith(shown)).toBe(true);
      const first = findCalls(whole, of)[0]?.start ?? Infinity;
      expect(shown.length).toBeLessThanOrEqual(first);
    });
    fc.assert(property, { numRuns: pureCases });
  });

  test("lets text without marks through as it comes", () => {
    const plain = fc.string({ unit: fc.constantFrom("a", "é", " ", "\n", "1", ".", "漢", "*"), minLength: 1 });
    const property = fc.property(plain, format, (whole, of) => {
      expect(push(whole, of, [1])).toBe(whole);
    });
    fc.assert(property, { numRuns: Math.ceil(pureCases / 4) });
    expect(push("Run:\n```python\nprint(1)\n```\nand a < b", "auto", [1])).toBe(
      "Run:\n```python\nprint(1)\n```\nand a < b",
    );
  });
});

import { describe, expect, test } from "vitest";
import type { ModelEvent } from "../../../src/host/provider.ts";
import { delta, toSse } from "../sse-server.ts";
import { messages, toMessageEvents, toStart } from "./anthropic-story.ts";
import { chat } from "./chat-story.ts";
import { responses } from "./responses-story.ts";
import type { SpokenWire } from "./story.ts";
import { tell } from "./tell.ts";

const ids = ["call_a", "call_b"];
/** Which call each piece is of, and the piece. */
const pieces = [
  [0, '{"text":'],
  [1, '{"text"'],
  [0, '"1"}'],
  [1, ':"2"}'],
] as const;

const toChat = (): string =>
  toSse([
    ...ids.map((id, index) => delta({ tool_calls: [{ index, id, function: { name: "echo", arguments: "" } }] })),
    ...pieces.map(([index, text]) => delta({ tool_calls: [{ index, function: { arguments: text } }] })),
    delta({}, "tool_calls"),
  ]).toString();

const toMessages = (): string =>
  toMessageEvents([
    { type: "message_start", message: {} },
    ...ids.map((id, index) => toStart(index, { type: "tool_use", id, name: "echo", input: {} })),
    ...pieces.map(([index, partial_json]) => ({
      type: "content_block_delta",
      index,
      delta: { type: "input_json_delta", partial_json },
    })),
    ...ids.map((_, index) => ({ type: "content_block_stop", index })),
    { type: "message_delta", delta: { stop_reason: "tool_use" } },
    { type: "message_stop" },
  ]);

function toResponses(): string {
  const call = (place: number) => ({ type: "function_call", call_id: ids[place], name: "echo", arguments: "" });
  const whole = (place: number) => pieces.flatMap(([of, text]) => (of === place ? [text] : [])).join("");
  const items = ids.map((_, place) => ({ ...call(place), arguments: whole(place) }));
  const events = [
    ...ids.map((_, at) => ({ type: "response.output_item.added", output_index: at, item: call(at) })),
    ...pieces.map(([at, text]) => ({ type: "response.function_call_arguments.delta", output_index: at, delta: text })),
    ...items.map((item, at) => ({ type: "response.output_item.done", output_index: at, item })),
    { type: "response.completed", response: { status: "completed", output: items } },
  ];
  return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join("");
}

const wires: readonly (readonly [type: string, wire: SpokenWire, bytes: string])[] = [
  ["openai-compatible", chat, toChat()],
  ["anthropic", messages, toMessages()],
  ["openai", responses, toResponses()],
];

/** The pieces of each call, put together. */
function joined(events: readonly ModelEvent[]): Readonly<Record<string, string>> {
  const texts: Record<string, string> = {};
  for (const event of events) {
    if (event.type === "tool.delta") texts[event.callId] = (texts[event.callId] ?? "") + event.text;
  }
  return texts;
}

describe("parallel calls whose pieces come by turns", () => {
  test.each(wires)("are kept apart over %s", async (_, wire, bytes) => {
    const { events, ended } = await tell(wire, bytes);
    const expected = { call_a: '{"text":"1"}', call_b: '{"text":"2"}' };
    expect(joined(events)).toEqual(expected);
    const calls = ended.parts.flatMap((part) => (part.type === "tool_call" ? [part] : []));
    expect(Object.fromEntries(calls.map(({ callId, argumentsText }) => [callId, argumentsText]))).toEqual(expected);
    const ready = events.flatMap((event) => (event.type === "tool.ready" ? [[event.callId, event.argumentsText]] : []));
    expect(Object.fromEntries(ready)).toEqual(expected);
    expect(ready).toHaveLength(2);
  });
});

import { counted } from "../../core/counted.ts";
import type { AnswerPart } from "../../core/event.ts";
import { sha256 } from "../../core/json.ts";
import type { ModelEvent, ModelRequest, Provider } from "../provider.ts";
import type { TextCallFormat } from "./format.ts";
import { toTextRequest } from "./format.ts";
import { openHold } from "./hold.ts";
import { openQuotes } from "./quotes.ts";
import type { TextCall } from "./recognize.ts";
import { findCalls } from "./recognize.ts";

type Ended = ModelEvent & { readonly type: "message.ended" };
type ToolCall = AnswerPart & { readonly type: "tool_call" };

/** How many calls one message may hold. */
const maxCalls = 32;

/**
 * A provider whose model writes its tool calls as text. The tools are told in the system prompt; a call is taken only from the model's own
 * words, only of a tool that was offered, and never where it stands in something that the model was told: then it is a quotation. Each
 * call that is taken or left is told by a notice.
 */
export function withTextCalls(provider: Provider, format: TextCallFormat): Provider {
  return {
    ...provider,
    identity: sha256(`${provider.identity} text calls ${format}`),
    async *stream(request, signal) {
      const hold = openHold(format);
      let shown = 0;
      for await (const event of provider.stream(toTextRequest(request, format), signal)) {
        if (event.type === "text.delta") {
          const text = hold.push(event.text);
          shown += text.length;
          if (text !== "") yield { type: "text.delta", text };
        } else if (event.type === "message.ended") yield* toEnd(event, request, { format, shown, by: provider.name });
        else if (!event.type.startsWith("tool.")) yield event;
      }
    },
  };
}

interface About {
  readonly format: TextCallFormat;
  /** How many characters of the text were shown. */
  readonly shown: number;
  /** The provider's name. */
  readonly by: string;
}

/** The last events of a message. */
function toEnd(answer: Ended, request: ModelRequest, { format, shown, by }: About): readonly ModelEvent[] {
  const ended = withoutNative(answer);
  const { parts, raw: _raw, ...rest } = ended;
  const text = parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("");
  const { calls, left, notices } = takeCalls(text, request, format);
  const all = ended === answer ? notices : [...notices, unasked];
  const told = all.map((message): ModelEvent => ({
    type: "notice",
    notice: { type: "degraded", model: `${by}:${request.model}`, message },
  }));
  const delta: readonly ModelEvent[] = left.length > shown ? [{ type: "text.delta", text: left.slice(shown) }] : [];
  if (calls.length === 0) return [...told, ...delta, ended];
  const ready = calls.flatMap((call, index): readonly ModelEvent[] => [
    { type: "tool.started", callId: call.callId, name: call.name, index },
    { ...call, type: "tool.ready" },
  ]);
  const words: readonly AnswerPart[] = left.trim() === "" ? [] : [{ type: "text", text: left.trimEnd() }];
  const others = parts.filter(({ type }) => type !== "text");
  return [...told, ...delta, ...ready, { ...rest, parts: [...others, ...words, ...calls], stop: "tool" }];
}

const unasked =
  "The endpoint made tool calls of its own, though it was told of no tools, so they are left out. If it can, set toolCalls to native.";

/** The answer without calls that its endpoint read out of it: nobody looked whether they are quotations. */
function withoutNative(ended: Ended): Ended {
  const { raw: _, ...rest } = ended;
  const parts = ended.parts.filter(({ type }) => type !== "tool_call");
  if (parts.length === ended.parts.length) return ended;
  return { ...rest, parts, stop: ended.stop === "tool" ? "end" : ended.stop };
}

interface Taken {
  readonly calls: readonly ToolCall[];
  /** The text without the calls that were taken. */
  readonly left: string;
  readonly notices: readonly string[];
}

function takeCalls(text: string, request: ModelRequest, format: TextCallFormat): Taken {
  const found = findCalls(text, format);
  const count = found.reduce((sum, { calls }) => sum + calls.length, 0);
  if (count > maxCalls) {
    const why = `The model wrote ${count} tool calls in one message, and ${maxCalls} are the most, so none was made.`;
    return { calls: [], left: text, notices: [why] };
  }
  const offered = new Set(request.tools.map(({ name }) => name));
  const isQuoted = openQuotes(request);
  const whyLeft = (call: TextCall): string | null => {
    if (!offered.has(call.name)) return "The model wrote a call of a tool that it was not offered, which is text.";
    return isQuoted(call) ? `The model quoted a call of ${call.name} that it was shown, which is text.` : null;
  };
  const taken: ToolCall[] = [];
  const notices: string[] = [];
  let left = "";
  let from = 0;
  for (const { start, end, calls } of found) {
    // What stands together is taken together: half of it would be another request.
    const whys = calls.flatMap((call) => whyLeft(call) ?? []);
    notices.push(...new Set(whys));
    if (whys.length > 0) continue;
    left += text.slice(from, start);
    from = end;
    for (const { name, args } of calls) {
      taken.push({ type: "tool_call", callId: `text_${taken.length}`, name, argumentsText: JSON.stringify(args) });
    }
  }
  const told = taken.length === 0 ? [] : [`${counted(taken.length, "tool call")} taken from the model's text.`];
  return { calls: taken, left: left + text.slice(from), notices: [...notices, ...told] };
}

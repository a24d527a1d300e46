import { bytesPerToken, pictureBytes } from "../../core/context.ts";
import type { ModelTool } from "../../core/event.ts";
import type { ContextMessage, Run } from "../../core/run.ts";
import { toArray } from "../../core/sequence.ts";
import { toRoom } from "./plan.ts";

/** Counts the tokens of a text. */
export type Tokenizer = (text: string) => number;

/** What the frame of one message takes: its role, its ids, its ends. */
const frameTokens = 8;
const pictureTokens = pictureBytes / bytesPerToken;
/** Tokenizers need quadratic time for long runs of letters without a break; so they get pieces, which costs a token for some of them. */
const pieceChars = 256;

/** The tokenizer of OpenAI's models (o200k), near enough for the others. It is loaded when it is first needed. */
export async function loadTokenizer(): Promise<Tokenizer> {
  const { countTokens } = await import("gpt-tokenizer/encoding/o200k_base");
  const plain = { disallowedSpecial: new Set<string>() };
  return (text) => {
    let tokens = 0;
    for (let start = 0; start < text.length; start += pieceChars) {
      tokens += countTokens(text.slice(start, start + pieceChars), plain);
    }
    return tokens;
  };
}

/**
 * The tokens of a run's context where they may be more than the model takes in: what its provider has counted, and beyond that by
 * tokenizer. null: they are surely fewer, or nobody knows how many the model takes in.
 */
export async function countWhereClose(run: Run, tools: readonly ModelTool[]): Promise<number | null> {
  const room = run.windowTokens === undefined ? null : toRoom(run);
  if (room === null) return null;
  const { counted, headBytes, bytes } = run.context;
  // No byte of text is more than one token.
  const most = counted === null ? headBytes + bytes : counted.tokens + bytes - counted.bytes;
  if (most <= room.budget || counted?.bytes === bytes) return null;
  const tokens = countContext(run, tools, await loadTokenizer());
  return tokens > room.budget ? tokens : null;
}

/** The tokens of a run's context: those that its provider has counted, and those of what came since. */
export function countContext(run: Run, tools: readonly ModelTool[], count: Tokenizer): number {
  const messages = toArray(run.messages);
  const { counted } = run.context;
  const [before, since] =
    counted === null ? [countHead(run.system ?? "", tools, count), 0] : [counted.tokens, counted.messages];
  return messages.slice(since).reduce((sum, message) => sum + countMessage(message, count), before);
}

/** The tokens of a system prompt and of tools. */
export function countHead(system: string, tools: readonly ModelTool[], count: Tokenizer): number {
  if (tools.length === 0) return count(system) + frameTokens;
  const known = toolTokens.get(tools);
  const ofTools = known ?? count(JSON.stringify(tools));
  toolTokens.set(tools, ofTools);
  return count(system) + ofTools + frameTokens;
}

/** The tokens of one message. */
export function countMessage(message: ContextMessage, count: Tokenizer): number {
  const known = messageTokens.get(message);
  if (known !== undefined) return known;
  const { text, pictures } = toParts(message);
  const tokens = frameTokens + pictures * pictureTokens + count(text);
  messageTokens.set(message, tokens);
  return tokens;
}

/** Messages never change, so each is counted once. */
const messageTokens = new WeakMap<ContextMessage, number>();
const toolTokens = new WeakMap<readonly ModelTool[], number>();

function toParts(message: ContextMessage): { readonly text: string; readonly pictures: number } {
  let pictures = 0;
  const withoutPictures = (_: string, value: unknown): unknown => {
    if (typeof value !== "object" || value === null || !("type" in value) || value.type !== "image") return value;
    pictures += 1;
    return undefined;
  };
  const said = message.role === "user" ? message.content : message.role === "tool" ? message.outcome : message.parts;
  const text = JSON.stringify(said, withoutPictures);
  return { text, pictures };
}

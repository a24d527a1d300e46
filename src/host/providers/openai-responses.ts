import type { ModelSettings } from "../../core/event.ts";
import type { ModelRequest } from "../provider.ts";
import { bearer, openaiClient } from "./openai-client.ts";
import { openResponse } from "./openai-answer.ts";
import { toResponsesBody } from "./openai-body.ts";
import { alwaysReasons, isPlain, takesSampling } from "./openai-models.ts";
import type { Dialect, OpenAnswer, WireCall } from "./wire.ts";

/** The Responses API of OpenAI, by the official SDK, and without state on the other side. */
export const openaiResponses: Dialect = {
  type: "openai",
  contentType: "text/event-stream",
  headers: bearer,
  validate,
  open,
};

function validate({ model, settings }: Parameters<Dialect["validate"]>[0]): readonly string[] {
  const { stop, seed, temperature, topP, reasoning } = settings;
  const unsaid = toUnsaid({ stop, seed }, (name) => `The Responses API of OpenAI takes no ${name}. Leave it out.`);
  const next = alwaysReasons(model) ? "Leave it out." : "Leave it out, or set reasoning to off.";
  const unsampled = takesSampling(model, reasoning)
    ? []
    : toUnsaid({ temperature, topP }, (name) => `${model} takes no ${name} while it reasons. ${next}`);
  return [...unsaid, ...unsampled, ...toUnreasoned(model, reasoning)];
}

function toUnsaid(settings: Readonly<Record<string, unknown>>, say: (name: string) => string): readonly string[] {
  return Object.entries(settings).flatMap(([name, value]) => (value === undefined ? [] : [say(name)]));
}

function toUnreasoned(model: string, reasoning: ModelSettings["reasoning"]): readonly string[] {
  if (reasoning === "off")
    return alwaysReasons(model) ? [`${model} always reasons. Leave reasoning out, or set it to low.`] : [];
  if (reasoning === undefined || !isPlain(model)) return [];
  return [`${model} does not reason. Leave reasoning out, or set it to off.`];
}

async function open(request: ModelRequest, call: WireCall): Promise<OpenAnswer> {
  const client = await openaiClient(call);
  const chunks = await client.responses.create(toResponsesBody(request, call));
  return { chunks, ...openResponse(request, call) };
}

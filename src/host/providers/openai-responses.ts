import type { ModelRequest } from "../provider.ts";
import { bearer, openaiClient } from "./openai-client.ts";
import { openResponse } from "./openai-answer.ts";
import { isPlain, toResponsesBody } from "./openai-body.ts";
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
  const { stop, seed, reasoning = "off" } = settings;
  const unsaid = Object.entries({ stop, seed }).flatMap(([name, value]) =>
    value === undefined ? [] : [`The Responses API of OpenAI takes no ${name}. Leave it out.`],
  );
  if (reasoning === "off" || !isPlain(model)) return unsaid;
  return [...unsaid, `${model} does not reason. Leave reasoning out, or set it to off.`];
}

async function open(request: ModelRequest, call: WireCall): Promise<OpenAnswer> {
  const client = await openaiClient(call);
  const chunks = await client.responses.create(toResponsesBody(request, call));
  return { chunks, ...openResponse(request, call) };
}

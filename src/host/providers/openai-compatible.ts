import type { ModelRequest } from "../provider.ts";
import { openChatAnswer } from "./chat-answer.ts";
import { toChatBody } from "./chat-body.ts";
import { bearer, openaiClient } from "./openai-client.ts";
import type { Dialect, OpenAnswer, WireCall } from "./wire.ts";

/** Chat Completions, which nearly every server of models speaks: vLLM, llama.cpp, LM Studio, Azure, gateways. */
export const openaiCompatible: Dialect = {
  type: "openai-compatible",
  contentType: "text/event-stream",
  headers: bearer,
  validate: ({ settings }) =>
    settings.reasoning === "off"
      ? [
          "Chat Completions has no word for reasoning: off that its servers share. Leave it out, or set it on the server.",
        ]
      : [],
  open,
};

async function open(request: ModelRequest, call: WireCall): Promise<OpenAnswer> {
  const client = await openaiClient(call);
  const chunks = await client.chat.completions.create(toChatBody(request, call));
  return { chunks, ...openChatAnswer(request, call) };
}

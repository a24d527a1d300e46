import type { ModelEvent, ModelRequest } from "../../src/host/provider.ts";
import type { ChatEndpoint } from "../../src/host/providers/openai-compatible.ts";
import { openaiCompatible } from "../../src/host/providers/openai-compatible.ts";

export const request: ModelRequest = {
  model: "test-model",
  system: "Be brief.",
  messages: [{ role: "user", content: [{ type: "text", text: "hello" }] }],
  tools: [{ name: "echo", description: "Says it again.", inputSchema: { type: "object" } }],
};

/** All events of one answer of an endpoint. */
export async function ask(
  baseUrl: string,
  over: Partial<ChatEndpoint> = {},
  asked = request,
): Promise<readonly ModelEvent[]> {
  const provider = openaiCompatible({ name: "test", baseUrl, silenceMs: 10_000, ...over });
  return await Array.fromAsync(provider.stream(asked, AbortSignal.timeout(110_000)));
}

/** The last event of an answer. */
export async function end(...args: Parameters<typeof ask>): Promise<ModelEvent & { type: "message.ended" }> {
  const last = (await ask(...args)).at(-1);
  if (last?.type !== "message.ended") throw new Error("the stream ended without an end");
  return last;
}

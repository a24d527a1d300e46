import { describe, expect, test } from "vitest";
import { toContextRules } from "../../../src/host/context/config.ts";
import { HostConfig } from "../../../src/host/config.ts";
import { saysContextFull } from "../../../src/host/providers/context-full.ts";
import { speak } from "../../../src/host/providers/wire.ts";
import { openTestHost } from "../scripted.ts";
import { openSseServer } from "../sse-server.ts";
import { spokenWires } from "./all.ts";
import { responses } from "./responses-story.ts";
import { ask, endOf, openTeller } from "./tell.ts";

const pages: readonly (readonly [server: string, status: number, error: unknown])[] = [
  ["OpenAI", 400, { code: "context_length_exceeded", message: "Your input exceeds the limit of this model." }],
  ["vLLM", 400, { message: "This model's maximum context length is 4096 tokens, and your request has 5000." }],
  ["llama.cpp", 400, { type: "exceed_context_size_error", message: "the request exceeds the available context size" }],
  ["Anthropic", 400, { type: "invalid_request_error", message: "prompt is too long: 210000 tokens > 200000 maximum" }],
  ["Anthropic", 400, { message: "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000" }],
  ["Anthropic", 413, { type: "request_too_large", message: "Request exceeds the maximum size" }],
  ["Bedrock", 400, { message: "Input is too long for requested model." }],
  ["Gemini", 400, { message: "The input token count (9) exceeds the maximum number of tokens allowed (8)." }],
  [
    "GitHub",
    400,
    { code: "model_max_prompt_tokens_exceeded", message: "prompt token count of 9 exceeds the limit of 8" },
  ],
  [
    "LM Studio",
    400,
    "Trying to keep the first 5000 tokens. However, the model is loaded with context length of only 4096 tokens",
  ],
  ["LM Studio", 400, "Cannot truncate prompt with n_keep (15028) >= n_ctx (7424)"],
  ["LM Studio", 400, "Context size has been exceeded."],
  ["Mistral", 400, { message: "Prompt contains 40000 tokens, too large for model with 32768 maximum context length" }],
  ["MiniMax", 400, { message: "invalid params, context window exceeds limit" }],
  ["Moonshot", 400, { message: "Invalid request: Your request exceeded model token limit: 262144" }],
  ["Ollama", 500, "the input length exceeds the context length"],
  ["SGLang", 400, { message: "The input (5000 tokens) is longer than the model's context length (4096 tokens)." }],
  ["TGI", 422, { message: "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens" }],
  ["vLLM", 400, { message: "The decoder prompt (length 5000) is longer than the maximum model length of 4096." }],
  ["xAI", 400, { message: "This model's maximum prompt length is 131072 but the request contains 537812 tokens." }],
];

describe.each(spokenWires)("a context that is too long for a model over $dialect.type", (wire) => {
  const refusing = (status: number, error: unknown) =>
    openSseServer((response) => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ error }));
    });

  test("is told as a full one, which costs nothing and can be made smaller", async () => {
    for (const [, status, error] of pages) {
      await using server = await refusing(status, error);
      const { stop, parts, usage } = endOf(await ask(wire, server.baseUrl));
      expect({ error, stop, parts }).toEqual({ error, stop: "context_full", parts: [] });
      expect(Object.values(usage)).toEqual([0, 0, 0, 0, 0, 0]);
    }
    await using other = await refusing(400, { message: "max_tokens: 100000 > 64000" });
    await expect(ask(wire, other.baseUrl)).rejects.toMatchObject({ code: "provider.bad_request" });
  });

  test("ends a run in which nothing can be made smaller as a limit", async () => {
    await using server = await refusing(400, { message: "prompt is too long" });
    const provider = speak(wire.dialect, { name: "test", baseUrl: server.baseUrl, silenceMs: 60_000 });
    await using at = await openTestHost({ tools: [], provider });
    expect(await at.start("Say hi.", { model: "test:model" })).toMatchObject({
      status: "limit",
      code: "run.cut_off",
      costMicroUsd: 0,
    });
  });
});

test("a context that OpenAI finds too long in its stream is told by the code of its error", async () => {
  const failed = { status: "failed", error: { code: "context_length_exceeded", message: "Too much." } };
  for (const event of [
    { type: "response.failed", response: failed },
    { type: "error", ...failed.error },
  ]) {
    await using server = await openTeller(responses, `data: ${JSON.stringify(event)}\n\n`);
    expect(endOf(await ask(responses, server.baseUrl))).toMatchObject({ stop: "context_full", parts: [] });
  }
});

test("other failures are not taken for a full context", () => {
  for (const said of [
    "model 'context' not found",
    "too many requests",
    "max_tokens is too large",
    "lost context",
    "rate limit exceeded",
    "context deadline exceeded",
  ]) {
    expect([said, saysContextFull(said)]).toEqual([said, false]);
  }
});

test("the context that Ollama is told to load a model with is the window of a run, where the model's own is not known", () => {
  const config = HostConfig.parse({
    providers: { mine: { type: "ollama", contextTokens: 16_000 } },
    models: { "mine:small": { windowTokens: 8_000 } },
  });
  const rules = (model: string) => toContextRules(config, model, { metered: true }).windowTokens;
  expect([rules("mine:small"), rules("mine:other"), rules("ollama:other")]).toEqual([8_000, 16_000, undefined]);
});

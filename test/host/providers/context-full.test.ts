import { describe, expect, test } from "vitest";
import { toContextRules } from "../../../src/host/context/config.ts";
import { HostConfig } from "../../../src/host/config.ts";
import { saysContextFull } from "../../../src/host/providers/context-full.ts";
import { speak } from "../../../src/host/providers/wire.ts";
import { openTestHost } from "../scripted.ts";
import { openSseServer } from "../sse-server.ts";
import { spokenWires } from "./all.ts";
import { ask, endOf } from "./tell.ts";

const pages: readonly (readonly [server: string, status: number, error: unknown])[] = [
  ["OpenAI", 400, { code: "context_length_exceeded", message: "Your input exceeds the limit of this model." }],
  ["vLLM", 400, { message: "This model's maximum context length is 4096 tokens, and your request has 5000." }],
  ["llama.cpp", 400, { type: "exceed_context_size_error", message: "the request exceeds the available context size" }],
  ["Anthropic", 400, { type: "invalid_request_error", message: "prompt is too long: 210000 tokens > 200000 maximum" }],
  ["Ollama", 500, "the input length exceeds the context length"],
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

test("other failures are not taken for a full context", () => {
  for (const said of ["model 'context' not found", "too many requests", "max_tokens is too large", "lost context"]) {
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

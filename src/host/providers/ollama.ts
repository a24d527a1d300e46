import type { ModelRequest } from "../provider.ts";
import { parseArguments } from "./call-arguments.ts";
import { openOllamaAnswer } from "./ollama-answer.ts";
import type { OllamaOptions } from "./ollama-body.ts";
import { toOllamaBody } from "./ollama-body.ts";
import type { Dialect, OpenAnswer, WireCall } from "./wire.ts";

/** Ollama's own API, by the official package. Its compatible one can't say how large the context is, and cuts it without a word. */
export function ollama(options: OllamaOptions): Dialect {
  return {
    type: "ollama",
    contentType: "application/x-ndjson",
    headers: (apiKey): Record<string, string> => (apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
    missing: (model) => `Get it with \`ollama pull ${model}\`, or name another.`,
    validate: () => [],
    open: (request, call) => open(request, call, options),
  };
}

async function open(request: ModelRequest, call: WireCall, options: OllamaOptions): Promise<OpenAnswer> {
  // The package for Node reads a picture from disk when its text is the path of a file, which a tool's result could be.
  const { Ollama } = await import("ollama/browser");
  const client = new Ollama({ host: call.baseUrl, fetch: checkedFetch(call) });
  const chunks = await client.chat(toOllamaBody(request, call, options));
  return { chunks, ...openOllamaAnswer(request, call, options.contextTokens ?? request.windowTokens) };
}

/** The package passes over lines that are no JSON and prints them to the console: this ends the answer before it sees one. */
function checkedFetch(call: WireCall): typeof fetch {
  const decoder = new TextDecoder();
  const encoder = new TextEncoder();
  return async (url, init) => {
    const response = await call.fetch(url, init);
    const checked = new TransformStream<Uint8Array, Uint8Array>({
      // The call's fetch gives whole lines. The package takes an empty one, too, for no JSON.
      transform(bytes, controller) {
        const lines = decoder.decode(bytes).split("\n");
        const told = lines.filter((line) => line !== "" && line !== "\r");
        if (!told.every((line) => parseArguments(line) !== undefined)) {
          throw call.badAnswer("a line that is not a JSON object");
        }
        const isPlain = told.length === lines.length - 1;
        controller.enqueue(isPlain ? bytes : encoder.encode(told.map((line) => `${line}\n`).join("")));
      },
    });
    return new Response(response.body?.pipeThrough(checked) ?? null, response);
  };
}

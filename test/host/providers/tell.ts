import { vi } from "vitest";
import type { ModelEvent, ModelRequest } from "../../../src/host/provider.ts";
import type { WireEndpoint } from "../../../src/host/providers/wire.ts";
import { speak } from "../../../src/host/providers/wire.ts";
import { openSseServer } from "../sse-server.ts";
import type { Story, SpokenWire } from "./story.ts";

export type Ended = ModelEvent & { readonly type: "message.ended" };

export const request: ModelRequest = {
  model: "test-model",
  system: "Be brief.",
  messages: [{ role: "user", content: [{ type: "text", text: "hello" }] }],
  tools: [
    {
      name: "echo",
      description: "Says it again.",
      inputSchema: { type: "object", properties: { text: { type: "string" } } },
    },
  ],
  settings: {},
};

/** All events of one answer of the endpoint at `baseUrl`. */
export async function ask(
  { dialect }: SpokenWire,
  baseUrl: string,
  asked: ModelRequest = request,
  over: Partial<WireEndpoint> = {},
): Promise<readonly ModelEvent[]> {
  const provider = speak(dialect, { name: "test", baseUrl, silenceMs: 30_000, ...over });
  return await Array.fromAsync(provider.stream(asked, AbortSignal.timeout(110_000)));
}

/** A real server that gives every request the same answer. */
export async function openTeller({ dialect }: SpokenWire, bytes: string | Buffer) {
  return await openSseServer((response) => {
    response.writeHead(200, { "content-type": dialect.contentType }).end(bytes);
  });
}

/** A story told by a real server, and what came of it. */
export async function tell(wire: SpokenWire, story: Story | string, asked?: ModelRequest) {
  await using server = await openTeller(wire, typeof story === "string" ? story : wire.encode(story));
  const events = await ask(wire, server.baseUrl, asked);
  const [sent] = server.requests;
  if (sent === undefined) throw new Error("nothing was sent");
  return { events, ended: endOf(events), sent };
}

export function endOf(events: readonly ModelEvent[]): Ended {
  const last = events.at(-1);
  if (last?.type !== "message.ended") throw new Error("the stream ended without an end");
  return last;
}

/**
 * Answers that come in exactly these pieces, which no socket promises. Only the network is left out: what `fetch` gives is read by all
 * that reads it otherwise.
 */
export async function askOverPieces(
  wire: SpokenWire,
  pieces: Iterable<Uint8Array<ArrayBuffer>>,
  fails = false,
): Promise<readonly ModelEvent[]> {
  const source = pieces[Symbol.iterator]();
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      pull(controller) {
        const { value, done } = source.next();
        if (done !== true) controller.enqueue(value);
        else if (fails) controller.error(new TypeError("terminated"));
        else controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  const headers = { "content-type": wire.dialect.contentType };
  vi.stubGlobal("fetch", async () => new Response(body, { headers }));
  try {
    return await ask(wire, "http://127.0.0.1:9/v1");
  } finally {
    vi.unstubAllGlobals();
  }
}

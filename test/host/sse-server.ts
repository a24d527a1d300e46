import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";

/** A model server whose every byte the test decides, on a port of its own. */
export async function openSseServer(
  answer: (response: ServerResponse, request: IncomingMessage, body: string) => unknown,
) {
  const requests: { readonly headers: IncomingMessage["headers"]; readonly url: string; readonly body: string }[] = [];
  const receive = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await text(request);
    requests.push({ headers: request.headers, url: request.url ?? "", body });
    answer(response, request, body);
  };
  const server = createServer((request, response) => {
    receive(request, response).catch(() => response.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("the server has no port");
  return {
    baseUrl: `http://127.0.0.1:${address.port}/v1`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

export const sseHead = { "content-type": "text/event-stream; charset=utf-8" };

/** Chunks of Chat Completions as the bytes of an event stream. */
export function toSse(chunks: readonly unknown[], done = true): Buffer {
  const lines = chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`);
  return Buffer.from([...lines, ...(done ? ["data: [DONE]\n\n"] : [])].join(""));
}

/** A chunk with one choice. */
export const delta = (change: unknown, finish_reason: string | null = null): unknown => ({
  choices: [{ index: 0, delta: change, finish_reason }],
});

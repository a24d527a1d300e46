import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";

const Event = z.looseObject({ id: z.unknown(), method: z.string() }).partial();
type Told = z.infer<typeof Event>;

const accept = "application/json, text/event-stream";
const start = {
  protocolVersion: "2025-11-25",
  capabilities: { elicitation: {} },
  clientInfo: { name: "raw", version: "1" },
};

/** The raw other end of the older legs over HTTP. */
export function openOlder(url: string) {
  const toHeaders = (token: string, more: object = {}): Record<string, string> => ({
    "content-type": "application/json",
    accept,
    authorization: `Bearer ${token}`,
    ...more,
  });

  /** Posts one message; `to` is a session's id, or where an SSE stream takes messages. */
  function post(token: string, to: string, message: object, signal: AbortSignal | null = null): Promise<Response> {
    const isPath = to.startsWith("/");
    const headers = toHeaders(token, isPath || to === "" ? {} : { "mcp-session-id": to });
    const body = JSON.stringify({ jsonrpc: "2.0", ...message });
    return fetch(`${url}${isPath ? to : "/mcp"}`, { method: "POST", headers, body, signal });
  }

  /** Opens a stream, and keeps what comes on it until it ends. */
  async function listen(token: string, path: string, session?: string) {
    const headers = toHeaders(token, session === undefined ? {} : { "mcp-session-id": session });
    const leaving = new AbortController();
    const response = await fetch(url + path, { headers, signal: leaving.signal });
    return { response, leave: () => leaving.abort(), ...readEvents(response) };
  }

  return {
    post,
    listen,
    /** Opens a session; gives its id. */
    async begin(token: string): Promise<string> {
      const opened = await post(token, "", { id: "start", method: "initialize", params: start });
      await opened.text();
      return opened.headers.get("mcp-session-id") ?? "";
    },
    /** Opens a session of 2024-11-05; gives where it takes messages, and its stream. */
    async beginSse(token: string) {
      const stream = await listen(token, "/sse");
      const path = await stream.waitForText(/event: endpoint\ndata: (\S+)\n/);
      await post(token, path, { id: "start", method: "initialize", params: start });
      await stream.waitFor(({ id }) => id === "start");
      return { ...stream, path };
    },
  };
}

/** Reads an event stream as it comes. */
export function readEvents(response: Response) {
  let text = "";
  const ended = (async () => {
    const decoder = new TextDecoder();
    try {
      for await (const chunk of response.body ?? []) text += decoder.decode(chunk, { stream: true });
    } catch {
      text += "\n"; // Cut off.
    }
    return text;
  })();

  async function waitForText(pattern: RegExp): Promise<string> {
    for (const until = performance.now() + 60_000; performance.now() < until; await sleep(5)) {
      const found = pattern.exec(text);
      if (found !== null) return found[1] ?? "";
    }
    throw new Error(`Nothing like ${pattern} came: ${text.slice(0, 500)}`);
  }

  return {
    ended,
    waitForText,
    /** The first message of the kind. */
    async waitFor(matches: (message: Told) => boolean): Promise<Told> {
      for (const until = performance.now() + 60_000; performance.now() < until; await sleep(5)) {
        const events = [...text.matchAll(/^data: (\{.*\})$/gm)].map(([, data = ""]) => Event.parse(JSON.parse(data)));
        const found = events.find(matches);
        if (found !== undefined) return found;
      }
      throw new Error(`Nothing of the kind came: ${text.slice(0, 500)}`);
    },
  };
}

import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { z } from "zod";

/** A message as it came over the wire. */
const Message = z.looseObject({
  id: z.union([z.string(), z.number(), z.null()]).optional(),
  method: z.string().optional(),
  params: z.record(z.string(), z.unknown()).optional(),
  result: z
    .looseObject({
      content: z.array(z.looseObject({ type: z.string(), text: z.string().optional() })).optional(),
      structuredContent: z.unknown().optional(),
      isError: z.boolean().optional(),
      requestState: z.string().optional(),
      tools: z.array(z.looseObject({ name: z.string() })).optional(),
    })
    .optional(),
  error: z.looseObject({ code: z.int(), message: z.string() }).optional(),
});
export type Message = z.infer<typeof Message>;

/** The envelope of revision 2026-07-28, as the parts of `_meta`. */
export function envelope(capabilities: object = {}): Record<string, unknown> {
  return {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": capabilities,
  };
}

/** The raw other end of a connection: says what no client library would, and keeps all that comes back. */
export interface Peer {
  /** All that has come, in its order. A line that is no JSON fails whoever waits next. */
  readonly received: readonly Message[];
  send(message: object | string): void;
  /** Sends a request under the next id and resolves to its answer. */
  request(method: string, params?: object): Promise<Message>;
  /** Opens the older era. */
  initialize(capabilities?: object): Promise<Message>;
  /** Calls a tool; `meta` goes into `_meta`. */
  call(name: string, args?: object, meta?: object): Promise<Message>;
  waitFor(matches: (message: Message) => boolean): Promise<Message>;
}

export function openPeer(input: Writable, output: Readable): Peer {
  const received: Message[] = [];
  const waiting = new Set<() => void>();
  let broken: unknown;
  let nextId = 0;
  createInterface({ input: output }).on("line", (line) => {
    try {
      received.push(Message.parse(JSON.parse(line)));
    } catch (error) {
      broken = new Error(`stdout carried something else: ${line.slice(0, 200)}`, { cause: error });
    }
    for (const check of waiting) check();
  });

  const peer: Peer = {
    received,
    send(message) {
      input.write(typeof message === "string" ? `${message}\n` : `${JSON.stringify(message)}\n`);
    },
    waitFor(matches) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error("nothing of the kind came within a minute")), 60_000);
        const check = (): void => {
          const found = received.find(matches);
          if (broken === undefined && found === undefined) return;
          clearTimeout(timer);
          waiting.delete(check);
          if (found === undefined || broken !== undefined) reject(broken);
          else resolve(found);
        };
        waiting.add(check);
        check();
      });
    },
    request(method, params) {
      const id = `own-${(nextId += 1)}`;
      peer.send({ jsonrpc: "2.0", id, method, ...(params === undefined ? {} : { params }) });
      return peer.waitFor((message) => message.id === id && message.method === undefined);
    },
    async initialize(capabilities = {}) {
      const clientInfo = { name: "raw", version: "1" };
      const answer = await peer.request("initialize", { protocolVersion: "2025-11-25", capabilities, clientInfo });
      peer.send({ jsonrpc: "2.0", method: "notifications/initialized" });
      return answer;
    },
    call: (name, args = {}, meta = {}) => peer.request("tools/call", { name, arguments: args, _meta: meta }),
  };
  return peer;
}

/** The text of a result, its blocks joined. */
export function textOf({ result }: Message): string {
  return (result?.content ?? []).map(({ text = "" }) => text).join("\n");
}

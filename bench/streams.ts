import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { tempFolder } from "./home.ts";
import type { Figure } from "./measure.ts";
import { toFigure } from "./measure.ts";

const streams = 10_000;
/** No user may have more than 1,000. */
const users = 20;
const atOnce = 100;
/** Opened and closed before anything counts, so that code is compiled and pools are as large as they will be. */
const warming = 1_000;

const Started = z.object({ url: z.url(), tokens: z.array(z.string()) });
const Held = z.object({
  rss: z.number(),
  heap: z.number(),
  sockets: z.number(),
  streams: z.number(),
  sessions: z.number(),
});
type Held = z.infer<typeof Held>;

interface Server extends AsyncDisposable {
  readonly port: number;
  readonly tokens: readonly string[];
  held(): Promise<Held>;
}

/** What opens one stream: messages on one connection, the last of which is answered with the stream. */
type Opening = (call: (message: string) => Promise<string>, token: string) => Promise<void>;

const kinds: Readonly<Record<string, Opening>> = {
  "2026-07-28, subscriptions/listen": async (call, token) => {
    const meta = {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientCapabilities": {},
    };
    const params = { notifications: { toolsListChanged: true }, _meta: meta };
    const headers = ["MCP-Protocol-Version: 2026-07-28", "Mcp-Method: subscriptions/listen"];
    await call(toPost(token, { id: 1, method: "subscriptions/listen", params }, headers));
  },
  "2025-11-25, the session and its GET stream": async (call, token) => {
    const clientInfo = { name: "bench", version: "1" };
    const params = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo };
    const opened = await call(toPost(token, { id: 1, method: "initialize", params }));
    const session = `Mcp-Session-Id: ${/mcp-session-id: (\S+)/i.exec(opened)?.[1] ?? ""}`;
    await call(toPost(token, { method: "notifications/initialized" }, [session]));
    await call(toRequest("GET", token, [session]));
  },
};

/** What 10,000 open event streams take of the memory of one process, beside plain `node:http`; fails where one is left after they closed. */
export async function* benchStreams(): AsyncGenerator<Figure> {
  const most = Number(execFileSync("sh", ["-c", "ulimit -n"], { encoding: "utf8" }));
  if (most < streams + 200) throw new Error(`ulimit -n is ${most}; ${streams} streams need ${streams + 200}.`);
  for (const [kind, opening] of Object.entries(kinds)) {
    const ours = await measureServer(opening, async (folder) => ["streams-server.ts", folder, String(users)]);
    const peer = await measureServer(kinds["2026-07-28, subscriptions/listen"] ?? opening, async () => [
      "bare-streams-server.js",
    ]);
    const about = { bench: "streams", unit: "kB a stream", peerName: "node:http, one event on each", rounds: 1 };
    const goal = { of: "ours", atMost: 30 } as const;
    yield toFigure({ ...about, figure: `${streams} open, ${kind}: resident` }, ours.rss, peer.rss, goal);
    yield toFigure({ ...about, figure: `${streams} open, ${kind}: heap and buffers` }, ours.heap, peer.heap);
  }
}

/** What one stream takes, in kB. */
async function measureServer(
  opening: Opening,
  toArgs: (folder: string) => Promise<readonly string[]>,
): Promise<{ readonly rss: number; readonly heap: number }> {
  await using folder = await tempFolder();
  await using server = await startServer(await toArgs(folder.path));
  await closeAll(server, await openAll(server, opening, warming));
  const before = await server.held();
  const sockets = await openAll(server, opening, streams);
  const open = await server.held();
  if (open.streams !== streams) throw new Error(`${open.streams} streams are open, not ${streams}.`);
  await closeAll(server, sockets);
  return { rss: (open.rss - before.rss) / streams / 1000, heap: (open.heap - before.heap) / streams / 1000 };
}

async function openAll(server: Server, opening: Opening, count: number): Promise<readonly Socket[]> {
  const sockets: Socket[] = [];
  const openOne = async (): Promise<void> => {
    while (sockets.length < count) {
      const index = sockets.length;
      // Each source address has some 28,000 ports.
      const socket = connect({ port: server.port, host: "127.0.0.1", localAddress: `127.0.0.${2 + (index % 4)}` });
      sockets.push(socket);
      await once(socket, "connect");
      await opening((message) => ask(socket, message), server.tokens[index % server.tokens.length] ?? "");
    }
  };
  await Promise.all(Array.from({ length: atOnce }, openOne));
  return sockets;
}

/** Closes them, and fails where the server still holds anything of them after some seconds; sessions have no stream, but live on. */
async function closeAll(server: Server, sockets: readonly Socket[]): Promise<void> {
  for (const socket of sockets) socket.destroy();
  for (const until = performance.now() + 10_000; performance.now() < until; await sleep(200)) {
    const { streams: left, sockets: connections } = await server.held();
    if (left === 0 && connections === 0) return;
  }
  throw new Error(`After all were closed the server holds ${JSON.stringify(await server.held())}.`);
}

function toPost(token: string, message: object, more: readonly string[] = []): string {
  const body = JSON.stringify({ jsonrpc: "2.0", ...message });
  const headers = ["Content-Type: application/json", `Content-Length: ${Buffer.byteLength(body)}`, ...more];
  return toRequest("POST", token, headers, body);
}

function toRequest(method: string, token: string, more: readonly string[], body = ""): string {
  const accept = "Accept: application/json, text/event-stream";
  return [`${method} /mcp HTTP/1.1`, "Host: bench", `Authorization: Bearer ${token}`, accept, ...more, "", body].join(
    "\r\n",
  );
}

/** Writes one message and gives what comes first in answer: a whole answer, or the head of a stream. */
async function ask(socket: Socket, message: string): Promise<string> {
  socket.write(message);
  const [chunk] = await once(socket, "data");
  const answer = String(chunk);
  if (!/^HTTP\/1\.1 20[02] /.test(answer)) throw new Error(`No stream: ${answer.slice(0, 500)}`);
  return answer;
}

async function startServer([program = "", ...args]: readonly string[]): Promise<Server> {
  const child = spawn(process.execPath, [join(import.meta.dirname, program), ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const lines = createInterface(child.stdout);
  const next = async (): Promise<unknown> => {
    const [line] = await once(lines, "line");
    return JSON.parse(String(line));
  };
  const { url, tokens } = Started.parse(await next());
  return {
    port: Number(new URL(url).port),
    tokens,
    async held() {
      child.stdin.write("held\n");
      return Held.parse(await next());
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await exited;
    },
  };
}

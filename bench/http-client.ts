import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { z } from "zod";

const Started = z.object({ url: z.url(), token: z.string() });

/** A server over HTTP as a process. Disposing closes its input and waits for its end. */
export interface HttpPeer extends AsyncDisposable {
  readonly pid: number;
  /** Calls echo again and again over so many connections, one call at a time on each, for `ms`. Gives calls per second. */
  load(inFlight: number, ms: number): Promise<number>;
}

/** Starts `node ARGS`, which prints where it listens and the token it takes. */
export async function startHttpServer(args: readonly string[]): Promise<HttpPeer> {
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const [line] = await Promise.race([
    once(createInterface(child.stdout), "line"),
    exited.then(() => Promise.reject(new Error(`${args[0]} ended before it listened.`))),
  ]);
  const { url, token } = Started.parse(JSON.parse(String(line)));
  const request = toRequest(new URL(url), token);
  return {
    pid: child.pid ?? 0,
    async load(inFlight, ms) {
      const startedAt = performance.now();
      const counts = await Promise.all(
        Array.from({ length: inFlight }, () => loadOne(Number(new URL(url).port), request, startedAt + ms)),
      );
      return (counts.reduce((sum, count) => sum + count, 0) / (performance.now() - startedAt)) * 1000;
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await exited;
    },
  };
}

/** The bytes of one call: what a client of revision 2026-07-28 sends. Made once, so that the client costs little beside the servers. */
function toRequest({ host, pathname }: URL, token: string): Buffer {
  const meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  const params = { name: "echo", arguments: { text: "hello" }, _meta: meta };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params });
  const head = [
    `POST ${pathname} HTTP/1.1`,
    `Host: ${host}`,
    `Authorization: Bearer ${token}`,
    "Content-Type: application/json",
    "Accept: application/json, text/event-stream",
    "MCP-Protocol-Version: 2026-07-28",
    "Mcp-Method: tools/call",
    "Mcp-Name: echo",
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from(`${head.join("\r\n")}\r\n\r\n${body}`);
}

async function loadOne(port: number, request: Buffer, until: number): Promise<number> {
  const socket = connect(port, "127.0.0.1").setNoDelay(true);
  try {
    await once(socket, "connect");
    let count = 0;
    for (; performance.now() < until; count += 1) await call(socket, request);
    return count;
  } finally {
    socket.destroy();
  }
}

/** One call on a connection that is kept. An answer that holds no echo fails. */
function call(socket: Socket, request: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = "";
    const onData = (chunk: Buffer): void => {
      text += chunk.toString("latin1");
      if (!isWhole(text)) return;
      socket.off("data", onData).off("close", onClose);
      if (text.includes('"structuredContent":{"text":"hello"}')) resolve();
      else reject(new Error(`No echo: ${text.slice(0, 500)}`));
    };
    const onClose = (): void => reject(new Error("The connection was closed."));
    socket.on("data", onData).on("close", onClose);
    socket.write(request);
  });
}

/** Whether a response has arrived: all of its length, or its last chunk. */
function isWhole(text: string): boolean {
  const end = text.indexOf("\r\n\r\n");
  if (end === -1) return false;
  const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, end + 2))?.[1];
  return length === undefined ? text.endsWith("0\r\n\r\n") : text.length >= end + 4 + Number(length);
}

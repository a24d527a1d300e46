import { once } from "node:events";
import { createServer as createHttpServer, type IncomingMessage } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { connect, createServer, type Server, type Socket } from "node:net";
import { duplexPair } from "node:stream";
import { connect as connectTls, type ConnectionOptions, type TlsOptions, type TLSSocket } from "node:tls";
import { CapstanError } from "../../src/core/error.ts";
import { type Egress, openEgress } from "../../src/sandbox/egress.ts";
import type { AllowConnect, ConnectEvent } from "../../src/sandbox/engine.ts";
import { tempFolder } from "../support/temp.ts";
import { identity } from "./egress-identity.ts";

/** A server on 127.0.0.1 that keeps what it saw: `name method url host body` of each request, the name being TLS's. */
export interface TestServer extends AsyncDisposable {
  readonly port: number;
  readonly seen: string[];
  /** How many connections came, also those that said nothing. */
  connections(): number;
}

type Answer = (request: IncomingMessage) => { readonly status?: number; readonly headers?: Record<string, string> };

export async function openServer(
  kind: "http" | "https",
  answer: Answer = () => ({}),
  over: TlsOptions = {},
): Promise<TestServer> {
  const seen: string[] = [];
  const listener: Parameters<typeof createHttpServer>[1] = (request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (text: string) => (body += text));
    request.on("end", () => {
      const name = "servername" in request.socket ? `${String(request.socket.servername)} ` : "";
      seen.push(`${name}${request.method} ${request.url} ${request.headers.host} ${body}`.trim());
      const { status = 200, headers = {} } = answer(request);
      response.writeHead(status, headers).end(`seen ${seen.length}`);
    });
  };
  const server = kind === "http" ? createHttpServer(listener) : createHttpsServer({ ...identity, ...over }, listener);
  return await listening(server, seen);
}

/** A TCP server that hands each connection to `take`. */
export async function openRawServer(take: (socket: Socket) => void): Promise<TestServer> {
  return await listening(
    createServer((socket) => take(socket.on("error", () => undefined))),
    [],
  );
}

async function listening(server: Server, seen: string[]): Promise<TestServer> {
  const sockets = new Set<Socket>();
  let count = 0;
  server.on("connection", (socket: Socket) => {
    count += 1;
    sockets.add(socket.on("error", () => undefined));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: portOf(server),
    seen,
    connections: () => count,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("A test server does not listen.");
  return address.port;
}

/** A proxy that allows `scheme://host:port` where `allowed` names it, and sends all of it to 127.0.0.1. */
export async function openProxy(
  allowed: readonly string[],
  limits: Parameters<typeof openEgress>[0]["limits"] = {},
  allowConnect: AllowConnect = allowOnly(allowed),
): Promise<Egress & { readonly events: ConnectEvent[] }> {
  const folder = await tempFolder();
  const events: ConnectEvent[] = [];
  const egress = await openEgress({ folder: folder.path, limits });
  egress.begin({ allowConnect, onConnect: (event) => events.push(event) });
  return {
    ...egress,
    events,
    async [Symbol.asyncDispose]() {
      await egress[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const allowOnly =
  (allowed: readonly string[]): AllowConnect =>
  async ({ scheme, host, port }) => {
    if (allowed.includes(`${scheme}://${host}:${port}`)) return ["127.0.0.1"];
    throw new CapstanError("permission.argument_refused", `${host}:${port} is not granted.`);
  };

/** What the events say, in short. */
export const inShort = (events: readonly ConnectEvent[]): readonly string[] =>
  events.map(({ to, outcome, code }) => [outcome, to, code].filter(Boolean).join(" "));

/** Sends bytes to the proxy and reads until it closes, or until `until` has come. Errors end it as a close does. */
export async function send(
  { socketPath }: Pick<Egress, "socketPath">,
  text: string | Buffer,
  until: RegExp = /$^/,
): Promise<string> {
  const socket = connect(socketPath);
  let got = "";
  const ended = new Promise<void>((resolve) => {
    socket.on("error", () => resolve()).on("close", () => resolve());
    socket.setEncoding("latin1").on("data", (chunk: string) => {
      got += chunk;
      if (until.test(got)) resolve();
    });
  });
  socket.write(text);
  await ended;
  socket.destroy();
  return got;
}

/** Opens a tunnel; the socket is ready for what is spoken in it. Throws the proxy's answer when that is no 200. */
export async function openTunnel({ socketPath }: Pick<Egress, "socketPath">, authority: string): Promise<Socket> {
  const socket = connect(socketPath);
  socket.on("error", () => undefined);
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  const [head]: Buffer[] = await once(socket, "data");
  const answer = String(head);
  if (answer !== "HTTP/1.1 200 Connected\r\n\r\n") throw new Error(answer);
  return socket;
}

/** TLS through a tunnel, as far as its handshake; `name` is what the hello says, "" for no name. Rejects with what the peer said. */
export async function handshake(
  proxy: Pick<Egress, "socketPath">,
  authority: string,
  name: string,
  over: ConnectionOptions = {},
): Promise<TLSSocket> {
  const socket = await openTunnel(proxy, authority);
  const tls = connectTls({
    socket,
    servername: name,
    ca: identity.cert,
    checkServerIdentity: () => undefined,
    ...over,
  });
  await once(tls, "secureConnect");
  return tls.on("error", () => undefined);
}

/** One GET over an open stream, and all that came until its end. */
export async function get(stream: Socket, host: string, path = "/"): Promise<string> {
  let got = "";
  stream.setEncoding("utf8").on("data", (chunk: string) => (got += chunk));
  const closed = once(stream, "close");
  stream.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  await closed;
  return got;
}

/** The first thing that a TLS client says; `name` "" for none. */
export async function captureHello(name: string, over: ConnectionOptions = {}): Promise<Buffer> {
  const [ours, theirs] = duplexPair();
  const tls = connectTls({ socket: ours, servername: name, ...over }).on("error", () => undefined);
  const [hello]: Buffer[] = await once(theirs, "data");
  tls.destroy();
  return hello ?? Buffer.alloc(0);
}

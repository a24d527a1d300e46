import { once } from "node:events";
import { chmod, chown, mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Socket } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { CapstanError, toCapstanError } from "../core/error.ts";
import { forward } from "./egress/forward.ts";
import { accessDenied, toHttpRefusal, toRefusal } from "./egress/refusal.ts";
import { carry, connectTo } from "./egress/sockets.ts";
import { egressPrefix, egressSocket } from "./egress/sweep.ts";
import { parseAbsolute, parseConnect, parseOrigin } from "./egress/target.ts";
import { beginsTls, carryHello } from "./egress/tunnel.ts";
import type { AllowConnect, ConnectEvent, ConnectTarget } from "./engine.ts";
import { openSlots } from "./process/slots.ts";

/** What one execution may do through its proxy. */
interface EgressLimits {
  /** Connections that are asked for, granted or not; then the proxy listens no more. */
  readonly connections: number;
  /** Connections at a time: to the proxy, where more are closed at once, and from it, where more wait. */
  readonly parallel: number;
  /** Both ways, of all connections together. */
  readonly bytes: number;
  /** For the head of a request, and for the beginning of TLS. */
  readonly headMs: number;
  /** How long nothing may move on a connection. */
  readonly idleMs: number;
}

const defaultLimits: EgressLimits = {
  connections: 1_000,
  parallel: 64,
  bytes: 1024 ** 3,
  headMs: 10_000,
  idleMs: 60_000,
};
const maxHeaderBytes = 16 * 1024;

/** The way out of one execution. Disposing closes it and every connection through it. */
export interface Egress extends AsyncDisposable {
  /** Where the proxy listens. The folder around it is closed to other users of the machine; the socket itself is open to the guest. */
  readonly socketPath: string;
}

/**
 * Opens a proxy for one execution on a Unix socket in a new folder below `folder`: HTTP/1.1 with CONNECT, in which TLS or plain HTTP is
 * spoken, and plain HTTP by whole URLs. `allowConnect` decides each connection and each request; the proxy connects to the addresses
 * that it answered and resolves nothing itself. Inside TLS the name in each hello must be the one of CONNECT. `onConnect` is told what
 * became of each. `guestUid`: the user who sets the guest up, where it is another one. Throws `sandbox.unavailable` when it can't listen there.
 */
export async function openEgress(options: {
  readonly allowConnect: AllowConnect;
  readonly onConnect?: (event: ConnectEvent) => void;
  readonly folder: string;
  readonly guestUid?: number | undefined;
  readonly limits?: Partial<EgressLimits>;
}): Promise<Egress> {
  const { allowConnect, onConnect = () => {}, folder, guestUid } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const closing = new AbortController();
  const sockets = new Set<Duplex>();
  /** Where tunnels lead in which plain HTTP is spoken, by their clients. */
  const plainTunnels = new WeakMap<Duplex, ConnectTarget>();
  const slots = openSlots(limits.parallel);
  let asked = 0;
  let bytes = 0;

  const watch = <T extends Duplex>(socket: T): T => {
    if (sockets.has(socket)) return socket;
    sockets.add(socket);
    // Each of both pipelines through it listens to its end several times.
    socket.setMaxListeners(32);
    socket.on("error", () => socket.destroy()).on("close", () => sockets.delete(socket));
    return socket;
  };
  const closeAll = () => {
    for (const socket of sockets) socket.destroy();
  };
  const tell = (target: ConnectTarget, thrown?: unknown) => {
    if (closing.signal.aborted) return;
    if (thrown === undefined) return onConnect({ ...target, outcome: "connected" });
    const { code, message } = toCapstanError(thrown);
    const isRefusal = code.startsWith("permission.") || code === "sandbox.network_refused";
    onConnect({ ...target, outcome: isRefusal ? "refused" : "failed", code, why: message });
  };
  const toSpend = (target: ConnectTarget) => (count: number) => {
    const wasLeft = bytes <= limits.bytes;
    bytes += count;
    if (!wasLeft || bytes <= limits.bytes) return;
    tell(target, usedUp(`${limits.bytes} bytes`));
    closeAll();
  };
  const ask = () => {
    asked += 1;
    if (asked > limits.connections) {
      server.close();
      throw usedUp(`${limits.connections} connections`);
    }
    if (bytes > limits.bytes) throw usedUp(`${limits.bytes} bytes`);
  };
  /** A connection to where the target stands for, when its turn has come. */
  const reach = async (target: ConnectTarget): Promise<Socket> => {
    const release = await slots.take(closing.signal);
    try {
      const upstream = watch(await connectTo(await allowConnect(target), target.port, closing.signal));
      return upstream.once("close", release).setTimeout(limits.idleMs, () => upstream.destroy());
    } catch (thrown) {
      release();
      throw thrown;
    }
  };
  const server = createServer({
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: limits.headMs,
    // A body may take as long as it moves.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.min(1_000, limits.headMs),
  });
  server.maxConnections = limits.parallel;

  async function onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { url = "", headers, socket } = request;
    let asking: ConnectTarget | undefined;
    try {
      ask();
      const tunnel = plainTunnels.get(socket);
      const { target, path } = tunnel === undefined ? parseAbsolute(url) : parseOrigin(tunnel, url, headers.host);
      asking = target;
      const upstream = await reach(target);
      tell(target);
      asking = undefined;
      await forward(request, response, { target, path, upstream }, toSpend(target));
    } catch (thrown) {
      if (asking !== undefined) tell(asking, thrown);
      if (response.headersSent) return void response.destroy();
      const refusal = toRefusal(thrown);
      response.writeHead(refusal.status, refusal.code, refusal.headers).end(refusal.body);
    }
  }

  async function onTunnel({ url = "" }: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    let asking: ConnectTarget | undefined;
    let upstream: Socket | undefined;
    let toAnswer = toHttpRefusal;
    try {
      ask();
      if (plainTunnels.has(client)) throw new CapstanError("sandbox.bad_request", "There is no tunnel in a tunnel.");
      const target = parseConnect(url);
      asking = target;
      // Connected before anything is promised, so that a server that is not there is told by a status.
      upstream = await reach(target).catch((refusal: unknown) => plainInstead(allowConnect, target, refusal));
      toAnswer = () => accessDenied;
      client.write("HTTP/1.1 200 Connected\r\n\r\n");
      if (head.length > 0) client.unshift(head);
      const tooSlow = setTimeout(() => client.destroy(), limits.headMs);
      try {
        if (!(await beginsTls(client))) {
          upstream?.destroy();
          plainTunnels.set(client, { ...target, scheme: "http" });
          server.emit("connection", client);
          return void client.resume();
        }
        if (upstream === undefined) throw tlsNotGranted(target);
        await carryHello(client, upstream, target);
      } finally {
        clearTimeout(tooSlow);
      }
      tell(target);
      asking = undefined;
      await carry(client, upstream, toSpend(target));
    } catch (thrown) {
      upstream?.destroy();
      if (asking !== undefined) tell(asking, thrown);
      client.end(toAnswer(thrown));
    }
  }

  // Neither rejects: what goes wrong is told to the client and to `onConnect`.
  server.on("request", (request, response) => void onRequest(request, response));
  server.on("connect", (request, socket, head) => {
    if (socket instanceof Socket) socket.setTimeout(limits.idleMs, () => socket.destroy());
    void onTunnel(request, socket, head);
  });
  server.on("connection", watch);
  server.setTimeout(limits.idleMs);

  const own = await mkdtemp(join(folder, egressPrefix));
  const socketPath = join(own, egressSocket);
  try {
    await listen(server, socketPath);
    // Nobody else gets through the folder. To a guest that is another user inside, the socket itself is given.
    await chmod(socketPath, 0o666);
    if (guestUid !== undefined) await chown(own, guestUid, guestUid);
  } catch (cause) {
    await rm(own, { recursive: true, force: true });
    throw new CapstanError("sandbox.unavailable", `The way to the network could not be opened at ${socketPath}.`, {
      cause,
    });
  }
  return {
    socketPath,
    async [Symbol.asyncDispose]() {
      closing.abort(new CapstanError("sandbox.network_refused", "The execution has ended."));
      const closed = new Promise((resolve) => server.close(resolve));
      closeAll();
      await closed;
      await rm(own, { recursive: true, force: true });
    },
  };
}

/** Nothing, where TLS to the target is refused and plain HTTP is allowed; else throws why not. */
async function plainInstead(allowConnect: AllowConnect, target: ConnectTarget, refusal: unknown): Promise<undefined> {
  if (toCapstanError(refusal).code === "sandbox.unreachable") throw refusal;
  await allowConnect({ ...target, scheme: "http" }).catch(() => {
    throw refusal;
  });
}

async function listen(server: Server, socketPath: string): Promise<void> {
  const listening = once(server, "listening");
  server.listen(socketPath);
  await listening;
}

function usedUp(what: string): CapstanError {
  return new CapstanError("sandbox.network_refused", `This execution may use ${what}, and has used them.`);
}

function tlsNotGranted({ host, port }: ConnectTarget): CapstanError {
  return new CapstanError("sandbox.network_refused", `Only plain HTTP is granted to ${host}:${port}, and TLS came.`);
}

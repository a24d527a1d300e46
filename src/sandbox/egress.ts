import { once } from "node:events";
import { chmod, chown, mkdtemp, rm } from "node:fs/promises";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { CapstanError, toCapstanError } from "../core/error.ts";
import { http } from "../core/http.ts";
import { openSlots } from "../core/slots.ts";
import { quote } from "../core/value-in-words.ts";
import { forward } from "./egress/forward.ts";
import { accessDenied, toHttpRefusal, toRefusal } from "./egress/refusal.ts";
import { carry, connectTo } from "./egress/sockets.ts";
import { egressPrefix, egressSocket } from "./egress/sweep.ts";
import { parseAbsolute, parseConnect, parseOrigin } from "./egress/target.ts";
import { beginsTls, carryHello } from "./egress/tunnel.ts";
import type { AllowConnect, ConnectTarget, ExecRequest } from "./engine.ts";

/** What one run may do through the proxy. */
interface EgressLimits {
  /** Connections that are asked for, granted or not, in form or not; then the run gets none any more. */
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
/** Of a target that is not in form, so much is put on record. */
const maxShown = 200;

/** The way out of one sandbox, which leads nowhere but while it runs. Disposing closes it and every connection through it. */
export interface Egress extends AsyncDisposable {
  /**
   * Lets one run connect where `allowConnect` says, until it is disposed of, which closes every connection. Throws `sandbox.bad_request`
   * while there is another.
   */
  begin(run: Pick<ExecRequest, "allowConnect" | "onConnect">): Disposable;
  /** Where the proxy listens. The folder around it is closed to other users of the machine; the socket itself is open to the guest. */
  readonly socketPath: string;
}

/** One run, and what it has used. */
interface Way extends Required<Pick<ExecRequest, "allowConnect" | "onConnect">> {
  readonly ended: AbortController;
  asked: number;
  told: number;
  /** Some connection was one too many at a time, and that is told. */
  isCrowded: boolean;
  bytes: number;
}

/**
 * Opens a proxy for one sandbox on a Unix socket in a new folder below `folder`: HTTP/1.1 with CONNECT, in which TLS or plain HTTP is
 * spoken, and plain HTTP by whole URLs. The `allowConnect` of a run decides each connection and each request; the proxy connects to the
 * addresses that it answered and resolves nothing itself. Inside TLS the name in each hello must be the one of CONNECT. `onConnect` is told
 * what became of each. `guestUid`: the user who sets the guest up, where it is another one. Throws `sandbox.unavailable` when it can't
 * listen there.
 */
export async function openEgress(options: {
  readonly folder: string;
  readonly guestUid?: number | undefined;
  readonly limits?: Partial<EgressLimits>;
}): Promise<Egress> {
  const { folder, guestUid } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const slots = openSlots(limits.parallel);
  /** The run that connections may be made for now. */
  let current: Way | undefined;
  /** Connections to the proxy, by the run that they were made for; `hasAsked`: something came on it that was in form. */
  const clients = new WeakMap<Duplex, { readonly way: Way; hasAsked: boolean }>();
  /** Where tunnels lead in which plain HTTP is spoken, by their clients. */
  const plainTunnels = new WeakMap<Duplex, ConnectTarget>();
  const sockets = new Set<Duplex>();

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
  const end = (way: Way | undefined) => {
    if (way === undefined || current !== way) return;
    way.ended.abort(new CapstanError("sandbox.network_refused", "The execution has ended."));
    current = undefined;
    closeAll();
  };
  const tell = (way: Way, to: string, thrown?: unknown) => {
    // Each that was asked for is told of once, and the last for all that come too late.
    if (way.ended.signal.aborted || (way.told += 1) > limits.connections + 1) return;
    if (thrown === undefined) return way.onConnect({ to, outcome: "connected" });
    const { code, message } = toCapstanError(thrown);
    const isRefusal = /^(?:permission\.|token\.|sandbox\.(?:network_refused|bad_request)$)/.test(code);
    way.onConnect({ to, outcome: isRefusal ? "refused" : "failed", code, why: message });
  };
  const toSpend = (way: Way, target: ConnectTarget) => (count: number) => {
    const wasLeft = way.bytes <= limits.bytes;
    way.bytes += count;
    if (!wasLeft || way.bytes <= limits.bytes) return;
    tell(way, toUrl(target), usedUp(`${limits.bytes} bytes`));
    closeAll();
  };
  const demandRoom = ({ asked, bytes }: Way) => {
    if (asked > limits.connections) throw usedUp(`${limits.connections} connections`);
    if (bytes > limits.bytes) throw usedUp(`${limits.bytes} bytes`);
  };
  /** Takes a client that asks for something, which counts; undefined: it came for no run. */
  const ask = (client: Duplex): Way | undefined => {
    const found = clients.get(client);
    if (found === undefined) return undefined;
    found.hasAsked = true;
    found.way.asked += 1;
    return found.way;
  };
  const welcome = (socket: Socket) => {
    // A tunnel in which plain HTTP is spoken comes a second time.
    if (clients.has(socket)) return;
    const way = current;
    if (way === undefined || way.asked > limits.connections) {
      socket.destroy();
      return;
    }
    const client = { way, hasAsked: false };
    clients.set(watch(socket), client);
    socket.once("close", () => {
      if (client.hasAsked || socket.bytesRead === 0) return;
      way.asked += 1;
      tell(way, "no request", new CapstanError("sandbox.bad_request", "What came was no whole request of HTTP."));
    });
  };
  const turnAway = () => {
    if (current === undefined || current.isCrowded) return;
    current.isCrowded = true;
    tell(current, "one more", usedUp(`${limits.parallel} connections at a time`));
  };
  /** A connection to where the target stands for, when its turn has come. */
  const reach = async ({ allowConnect, ended }: Way, target: ConnectTarget): Promise<Socket> => {
    const release = await slots.take(ended.signal);
    try {
      const upstream = watch(await connectTo(await allowConnect(target), target.port, ended.signal));
      return upstream.once("close", release).setTimeout(limits.idleMs, () => upstream.destroy());
    } catch (thrown) {
      release();
      throw thrown;
    }
  };
  const server = http.createServer({
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: limits.headMs,
    // A body may take as long as it moves.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.min(1_000, limits.headMs),
  });
  server.maxConnections = limits.parallel;

  async function onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { url = "", headers, socket } = request;
    const way = ask(socket);
    if (way === undefined) return void response.destroy();
    let asking: string | undefined = toShown(url);
    try {
      const tunnel = plainTunnels.get(socket);
      const { target, path } = tunnel === undefined ? parseAbsolute(url) : parseOrigin(tunnel, url, headers.host);
      asking = toUrl(target);
      demandRoom(way);
      const upstream = await reach(way, target);
      tell(way, asking);
      asking = undefined;
      await forward(request, response, { target, path, upstream }, toSpend(way, target));
    } catch (thrown) {
      if (asking !== undefined) tell(way, asking, thrown);
      if (response.headersSent) return void response.destroy();
      const refusal = toRefusal(thrown);
      response.writeHead(refusal.status, refusal.code, refusal.headers).end(refusal.body);
    }
  }

  async function onTunnel({ url = "" }: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    const way = ask(client);
    if (way === undefined) return void client.destroy();
    let asking: string | undefined = toShown(url);
    let upstream: Socket | undefined;
    let toAnswer = toHttpRefusal;
    try {
      if (plainTunnels.has(client)) throw new CapstanError("sandbox.bad_request", "There is no tunnel in a tunnel.");
      const target = parseConnect(url);
      // What is to be spoken in a tunnel is not known before it is there.
      asking = `${target.host}:${target.port}`;
      demandRoom(way);
      // Connected before anything is promised, so that a server that is not there is told by a status.
      upstream = await reach(way, target).catch((refusal: unknown) => plainInstead(way, target, refusal));
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
        asking = toUrl(target);
        if (upstream === undefined) throw tlsNotGranted(target);
        await carryHello(client, upstream, target);
      } finally {
        clearTimeout(tooSlow);
      }
      tell(way, asking);
      asking = undefined;
      await carry(client, upstream, toSpend(way, target));
    } catch (thrown) {
      upstream?.destroy();
      if (asking !== undefined) tell(way, asking, thrown);
      client.end(toAnswer(thrown));
      // Its end is seen by who reads, and one that never ends would keep its place.
      client.resume();
      setTimeout(() => client.destroy(), limits.headMs).unref();
    }
  }

  // Neither rejects: what goes wrong is told to the client and to `onConnect`.
  server.on("request", (request, response) => void onRequest(request, response));
  server.on("connect", (request, socket, head) => {
    if (socket instanceof Socket) socket.setTimeout(limits.idleMs, () => socket.destroy());
    void onTunnel(request, socket, head);
  });
  server.on("connection", welcome).on("drop", turnAway);
  server.setTimeout(limits.idleMs);

  const own = await mkdtemp(join(folder, egressPrefix));
  const socketPath = join(own, egressSocket);
  const close = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    end(current);
    closeAll();
    await closed;
    await rm(own, { recursive: true, force: true });
  };
  try {
    await listen(server, socketPath);
    // Nobody else gets through the folder. To a guest that is another user inside, the socket itself is given.
    await chmod(socketPath, 0o666);
    if (guestUid !== undefined) await chown(own, guestUid, guestUid);
  } catch (cause) {
    await close();
    throw new CapstanError("sandbox.unavailable", `The way to the network could not be opened at ${socketPath}.`, {
      cause,
    });
  }
  return {
    socketPath,
    begin({ allowConnect = noNetwork, onConnect = () => {} }) {
      if (current !== undefined) throw new CapstanError("sandbox.bad_request", "A sandbox runs one run at a time.");
      const ended = new AbortController();
      const way = { allowConnect, onConnect, ended, asked: 0, told: 0, isCrowded: false, bytes: 0 };
      current = way;
      return { [Symbol.dispose]: () => end(way) };
    },
    [Symbol.asyncDispose]: close,
  };
}

const noNetwork: AllowConnect = () =>
  Promise.reject(new CapstanError("sandbox.network_refused", "This call asked for no network. Pass network: true."));

const toUrl = ({ scheme, host, port }: ConnectTarget): string => `${scheme}://${host}:${port}`;
const toShown = (url: string): string => quote(url.slice(0, maxShown));

/** Nothing, where TLS to the target is refused and plain HTTP is allowed; else throws why not. */
async function plainInstead({ allowConnect }: Way, target: ConnectTarget, refusal: unknown): Promise<undefined> {
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

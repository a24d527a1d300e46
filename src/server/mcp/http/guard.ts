import type { IncomingMessage } from "node:http";

/** Whom the server answers: the names it is reached by, and the web pages that may call it. */
export interface Guard {
  /** What is wrong with the place that a request names or comes from; null where nothing is. */
  check(request: IncomingMessage): string | null;
}

const loopback = ["127.0.0.1", "localhost", "[::1]"];
/** Every address of the machine, which are not known here: by a name of its own it is reached where `hosts` says so. */
const wildcards = ["0.0.0.0", "[::]"];

/** Whether only this machine reaches what listens on a host. */
export const isLocal = (host: string): boolean => loopback.includes(toName(host));
const toName = (host: string): string => (host.includes(":") ? `[${host}]` : host).toLowerCase();

/**
 * The origin of a URL as browsers send it, also with a scheme that the URL standard knows none for (`chrome-extension://ID`); null for
 * what has no host. It is never the word `null`, which stands for every page whose origin is hidden.
 */
function toOrigin(url: string): string | null {
  const { protocol = "", host = "" } = URL.parse(url) ?? {};
  return host === "" ? null : `${protocol}//${host}`;
}

/**
 * Opens the guard that stands before all routing (2026-07-28, transports/streamable-http, Security Warning): a page that a browser
 * reached under another name (DNS rebinding) and a page of another origin are answered by no one. `hosts` may name a host for every
 * port, or `host:port`.
 */
export function openGuard(listening: {
  readonly host: string;
  readonly port: number;
  readonly hosts: readonly string[];
  readonly origins: readonly string[];
}): Guard {
  const { host, port, hosts, origins } = listening;
  const own = toName(host);
  const names = [own, ...(isLocal(host) || wildcards.includes(own) ? loopback : [])];
  const allowed = new Set([...names.map((name) => `${name}:${port}`), ...hosts.map((name) => name.toLowerCase())]);
  const pages = new Set<string | null>([...names.map((name) => `http://${name}:${port}`), ...origins.map(toOrigin)]);

  return {
    check({ headers }) {
      const named = (headers.host ?? "").toLowerCase();
      const bare = named.replace(/:\d+$/, "");
      if (!allowed.has(named) && !allowed.has(bare)) {
        return "This server is not known under that host name. Name it in server.hosts of the config to allow it.";
      }
      const { origin } = headers;
      if (origin !== undefined && !pages.has(origin)) {
        return "Pages of that origin may not call this server. Name it in server.origins of the config to allow it.";
      }
      return null;
    },
  };
}

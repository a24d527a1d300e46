import { CapstanError } from "../core/error.ts";
import { isLocal } from "../server/mcp/http/guard.ts";
import { serveHttp } from "../server/mcp/http/http.ts";
import { serveStdio } from "../server/mcp/stdio.ts";
import type { DiscoverySettings } from "../tools/discovery/search.ts";
import { version } from "../version.ts";
import type { ExitCode, GrantFlags, Session } from "./command.ts";

export interface ServeOptions extends GrantFlags {
  readonly http?: string;
  readonly discovery?: DiscoverySettings["discovery"];
}

/** `capstan serve`: MCP on stdin and stdout until stdin closes, or over HTTP; until Ctrl-C. */
export async function serve(session: Session, options: ServeOptions): Promise<ExitCode> {
  const { app, signal, tell } = session;
  const { artifacts, door, permissions, store, onFault, logger } = app;
  const { discovery, discoveryTokens, resultBytes } = app.config.server;
  const offering = { artifacts, discovery: options.discovery ?? discovery, discoveryTokens, resultBytes };
  await app.bridge?.ready(signal, "start");
  const grant = await session.grant(options);
  const isExplicit = session.isGrantNamed(options);
  const services = { door, permissions, store, grant, isExplicit, version, offering, logger, signal };
  if (options.http === undefined) {
    await serveStdio({ ...services, input: process.stdin, output: process.stdout, log: tell });
    return 0;
  }
  const { hosts, origins, publicUrl } = app.config.server;
  const where = { hosts, origins, ...(publicUrl === undefined ? {} : { publicUrl }) };
  const address = parseAddress(options.http);
  const serving = await serveHttp({ ...services, ...address, ...where, onFault });
  tell(`MCP at ${serving.url}/mcp. Each request presents a token: Authorization: Bearer TOKEN.`);
  if (!isLocal(address.host)) tell(toWarning(hosts));
  await serving.closed;
  return 0;
}

/** For an address that other machines reach. */
function toWarning(hosts: readonly string[]): string {
  const known = hosts.length === 0 ? "no other name" : hosts.join(", ");
  return (
    "Other machines reach this address, and there is no TLS here: whoever is in between reads the tokens. Put a proxy with TLS in front. " +
    `Clients may name it by the address above and by server.hosts of the config: ${known}.`
  );
}

/** `PORT`, `HOST:PORT` or `[IPV6]:PORT`. Throws `usage.bad_option`. */
function parseAddress(text: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, digits = ""] = /^(?:(?:\[([0-9a-f:.]+)\]|([^:[\]\s]+)):)?(\d{1,5})$/i.exec(text) ?? [];
  const port = Number(digits);
  if (digits !== "" && port <= 65_535) return { host: bracketed ?? plain ?? "127.0.0.1", port };
  throw new CapstanError("usage.bad_option", `--http takes [HOST:]PORT, as 8080 or 0.0.0.0:8080, not "${text}".`);
}

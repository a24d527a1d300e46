import { CapstanError } from "../../core/error.ts";
import { quote } from "../../core/value-in-words.ts";
import type { ConnectTarget } from "../engine.ts";

/** The longest name that DNS has. */
const maxHostLength = 253;

/** The target of a CONNECT request, `host:port`. Throws `sandbox.bad_request`. */
export function parseConnect(authority: string): ConnectTarget {
  return parseAuthority(authority, "https", undefined);
}

/** The target of a request that names its whole URL, and what of it goes to the server. Throws `sandbox.bad_request`. */
export function parseAbsolute(url: string): { readonly target: ConnectTarget; readonly path: string } {
  const [, authority, rest = ""] = /^http:\/\/([^/?#]*)([^#]*)/i.exec(url) ?? [];
  if (authority === undefined) {
    throw new CapstanError(
      "sandbox.bad_request",
      "This is a proxy: it takes CONNECT host:port, and http:// URLs written in full. Set HTTP_PROXY and HTTPS_PROXY to it.",
    );
  }
  return { target: parseAuthority(authority, "http", 80), path: rest.startsWith("/") ? rest : `/${rest}` };
}

/** The target of a request in a tunnel of plain HTTP: the tunnel's own. Throws `sandbox.bad_request` for one that names another. */
export function parseOrigin(
  target: ConnectTarget,
  url: string,
  host: string | undefined,
): { readonly target: ConnectTarget; readonly path: string } {
  const named = host?.toLowerCase();
  const isSame = named === toAuthority(target) || named === `${target.host}:${target.port}`;
  if (url.startsWith("/") && isSame) return { target, path: url };
  throw new CapstanError(
    "sandbox.bad_request",
    `A request in the tunnel to ${toAuthority(target)} must be for that host, and name the path alone.`,
  );
}

/**
 * Upper case aside, a host must be spelled as URLs spell it: what another parser may read otherwise (decimal, short and mapped
 * addresses, a dot at the end, user info, encoded letters) is refused, not guessed at.
 */
function parseAuthority(
  authority: string,
  scheme: ConnectTarget["scheme"],
  defaultPort: number | undefined,
): ConnectTarget {
  const [, host = "", digits] =
    /^([a-z0-9._-]+|\[[0-9a-f:]+\])(?::([1-9]\d{0,4}))?$/.exec(authority.toLowerCase()) ?? [];
  const port = digits === undefined ? defaultPort : Number(digits);
  const isPlain =
    host.length <= maxHostLength && !host.endsWith(".") && URL.parse(`http://${host}/`)?.hostname === host;
  if (isPlain && host !== "" && port !== undefined && port <= 65_535) return { scheme, host, port };
  throw new CapstanError(
    "sandbox.bad_request",
    `${quote(authority.slice(0, 300))} names no host in its plain form. Write it as api.example.org:443.`,
  );
}

/** The target as the Host header and messages have it. */
export function toAuthority({ scheme, host, port }: ConnectTarget): string {
  return port === (scheme === "http" ? 80 : 443) ? host : `${host}:${port}`;
}

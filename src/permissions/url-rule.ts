import { isIP } from "node:net";
import { CapstanError } from "../core/error.ts";
import { isPrivateHost } from "./address.ts";
import { UrlRule } from "./grant.ts";

const maxUrlLength = 8192;
const defaultPorts: Readonly<Record<string, string>> = { https: "443", http: "80", wss: "443", ws: "80" };

/**
 * Whether a URL is allowed. Its authority must be spelled as the parser would spell it (upper case and the default port aside): user
 * info, decimal or mapped addresses, encoded or Unicode hosts, tabs and backslashes are refused, since another parser may read them
 * otherwise. A host without a port means the scheme's own port. A private address or a local name needs `private`; a name that
 * only resolves to one is caught by whoever connects.
 */
export function checkUrl(rule: UrlRule, value: string): boolean {
  const [, scheme = "", authority = ""] = /^([a-z]+):\/\/([^/?#]+)/i.exec(value) ?? [];
  const url = value.length > maxUrlLength ? null : URL.parse(value);
  if (url === null || authority === "") return false;
  const spelled = authority.toLowerCase();
  if (spelled !== url.host && spelled !== `${url.host}:${defaultPorts[scheme.toLowerCase()]}`) return false;
  if (url.hostname.endsWith(".") || (!rule.private && isPrivateHost(url.hostname))) return false;
  return (
    rule.schemes.some((allowed) => `${allowed}:` === url.protocol) &&
    rule.hosts.some((entry) => coversHost(entry, url.host))
  );
}

/** Whether one of the rules that allow a URL lets it lead to private addresses. */
export function allowsPrivate(rules: readonly UrlRule[], url: string): boolean {
  return rules.some((rule) => rule.private && checkUrl(rule, url));
}

/**
 * The rule for a host as a person names it: `api.github.com`, `*.example.org`, `http://localhost:8080`, `*`. Without a scheme, https.
 * Private addresses are included only where the host itself is one. Throws `usage.bad_option`.
 */
export function parseUrlRule(text: string): UrlRule {
  const [, scheme = "https", host = ""] = /^(?:([a-z]+):\/\/)?([^/?#@\s\\]+)\/?$/.exec(text.toLowerCase()) ?? [];
  const wildcard = host.startsWith("*.") ? "*." : "";
  const url = URL.parse(`${scheme}://${host.slice(wildcard.length)}`);
  const entry = host === "*" ? "*" : `${wildcard}${url?.host ?? ""}`;
  const rule = UrlRule.safeParse({
    hosts: [entry],
    schemes: [scheme],
    private: wildcard === "" && host !== "*" && isPrivateHost(url?.hostname ?? ""),
  });
  if (rule.success && url !== null && host !== "") return rule.data;
  throw new CapstanError(
    "usage.bad_option",
    `${JSON.stringify(text.slice(0, 80))} names no host. Write it as api.github.com, *.example.org or http://localhost:8080.`,
  );
}

/** Whether every URL that `child` allows is allowed by `parent`. */
export function coversUrl(parent: UrlRule, child: UrlRule): boolean {
  return (
    (parent.private || !child.private) &&
    child.schemes.every((scheme) => parent.schemes.includes(scheme)) &&
    child.hosts.every((host) => parent.hosts.some((entry) => coversHost(entry, host)))
  );
}

/** The rule that allows what both allow; null when that is nothing. */
export function meetUrls(a: UrlRule, b: UrlRule): UrlRule | null {
  const schemes = a.schemes.filter((scheme) => b.schemes.includes(scheme));
  const hosts = [
    ...a.hosts.filter((host) => b.hosts.some((entry) => coversHost(entry, host))),
    ...b.hosts.filter((host) => !a.hosts.includes(host) && a.hosts.some((entry) => coversHost(entry, host))),
  ];
  return schemes.length === 0 || hosts.length === 0 ? null : { hosts, schemes, private: a.private && b.private };
}

/**
 * Whether an entry of a rule covers a host, or another entry. `*.x.y` covers every name that ends in `.x.y`, never `x.y` itself nor
 * an address; `*` covers everything; any other entry covers itself.
 */
function coversHost(entry: string, host: string): boolean {
  if (entry === host || entry === "*") return true;
  return entry.startsWith("*.") && host.endsWith(entry.slice(1)) && host.length > entry.length - 1 && !isAddress(host);
}

function isAddress(host: string): boolean {
  return host.startsWith("[") || isIP(host.split(":", 1)[0] ?? "") !== 0;
}

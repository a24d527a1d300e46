import type { OAuthDiscoveryState } from "@modelcontextprotocol/client";
import { CapstanError } from "../../../core/error.ts";
import { parseRemoteUrl } from "../guarded-fetch.ts";

/** The authorization server that was discovered, by its own metadata where it has any (RFC 8414). */
export function toIssuer({
  authorizationServerMetadata: metadata,
  authorizationServerUrl,
}: OAuthDiscoveryState): string {
  return metadata?.issuer ?? authorizationServerUrl;
}

/** Whether two identifiers name one issuer: a slash at the end, which the standard library adds to an origin, is no difference. */
export function isSameIssuer(a: string, b: string): boolean {
  return a.replace(/\/$/, "") === b.replace(/\/$/, "");
}

/**
 * Checks every URL of a discovery before anything goes there: https, or plain http to loopback where the server may be private. The
 * server chose all of them. Throws as `parseRemoteUrl` does.
 */
export function demandSafeUrls(state: OAuthDiscoveryState, isPrivate: boolean, server: string): void {
  const { authorizationServerMetadata: metadata, authorizationServerUrl, resourceMetadataUrl } = state;
  const urls = [
    resourceMetadataUrl,
    authorizationServerUrl,
    metadata?.issuer,
    metadata?.authorization_endpoint,
    metadata?.token_endpoint,
    metadata?.registration_endpoint,
  ];
  for (const url of urls) if (url !== undefined) parseSignInUrl(url, isPrivate, server);
}

/** A URL that has to do with signing in at a server. Throws a TypeError whose cause is `mcp.url_refused`. */
export function parseSignInUrl(text: string, isPrivate: boolean, server: string): URL {
  const url = parseRemoteUrl(text, isPrivate, server);
  if (url.protocol === "https:" || isLoopback(url.hostname)) return url;
  const problem = `${server} names ${url.origin} to sign in at. Without TLS that is for loopback addresses only. Use https.`;
  throw new TypeError(problem, { cause: new CapstanError("mcp.url_refused", problem) });
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127(?:\.\d+){3}$/.test(host);
}

/** How the URIs of one server are written outside, so that each leads back to that server and to no other. */
export interface BridgedUris {
  /** A URI, or a URI template, as it is published. */
  toPublished(uri: string): string;
  /** The server's own URI; null for one that is not this server's. */
  toOwn(uri: string): string | null;
}

/**
 * `SERVER+URI`. Without a prefix URIs stay as they are, unless they are ones that Capstan or another server has: whatever a server
 * links to, it only ever leads to itself. `servers` are all in the config.
 */
export function toBridgedUris(server: string, isPrefixed: boolean, servers: readonly string[]): BridgedUris {
  const prefix = `${server}+`;
  const isTaken = (uri: string): boolean =>
    /^capstan:/i.test(uri) || servers.some((name) => uri.startsWith(`${name}+`));
  return {
    toPublished: (uri) => (isPrefixed || isTaken(uri) ? `${prefix}${uri}` : uri),
    toOwn(uri) {
      if (uri.startsWith(prefix)) return uri.slice(prefix.length);
      return isPrefixed || isTaken(uri) ? null : uri;
    },
  };
}

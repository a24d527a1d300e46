import { serveHttp } from "../../../src/server/mcp/http/http.ts";
import type { Grant } from "../../../src/permissions/grant.ts";
import { openTestServer, type TestServerParts } from "./serve.ts";

/** A server on a port of its own over a real door. `tokenOf` signs a grant. */
export async function openHttpServer(
  over: { readonly hosts?: readonly string[]; readonly origins?: readonly string[] } & TestServerParts = {},
) {
  const server = await openTestServer(over);
  const { door, permissions, store, grant } = server;
  const ending = new AbortController();
  const { url, closed, counts } = await serveHttp({
    ...{ door, permissions, store, grant, isExplicit: false, version: "0.0.0-test", host: "127.0.0.1", port: 0 },
    offering: over.offering,
    logger: over.logger,
    hosts: over.hosts ?? [],
    origins: over.origins ?? [],
    onFault: (fault) => server.faults.push(fault),
    signal: ending.signal,
  });
  return {
    ...server,
    url,
    closed,
    counts,
    stop: () => ending.abort(),
    tokenOf: (own: Grant = grant) => permissions.mint(own),
    async [Symbol.asyncDispose]() {
      ending.abort();
      await closed;
      await server[Symbol.asyncDispose]();
    },
  };
}

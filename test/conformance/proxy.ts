import { once } from "node:events";
import { createServer, request as requestHttp } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";

/** A proxy on a port of its own. */
export interface TestProxy extends AsyncDisposable {
  /** `localhost:PORT`: under this name the server behind it is reached. */
  readonly host: string;
  /** The server that requests go to from now on, and the token that they get. */
  readonly target: (url: string, token: string) => void;
}

/**
 * Opens a proxy that adds a bearer token to each request, for clients that can't. All else passes as it is: Host and Origin, so that the
 * server's own guards decide, streams as they come, and the end of either side ends the other.
 *
 * `isOld`: answers requests of revision 2026-07-28 as servers did that had never heard of it, so that what stands behind is spoken to in
 * the older era.
 */
export async function openProxy({ isOld }: { readonly isOld: boolean }): Promise<TestProxy> {
  let to = new URL("http://127.0.0.1:9");
  let bearer = "";
  const server = createServer((request, response) => {
    if (isOld && request.headers["mcp-protocol-version"] === "2026-07-28") {
      response.writeHead(400, { "content-type": "text/plain" }).end("Bad Request: Unsupported protocol version");
      return;
    }
    forward(request, response, to, bearer);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The proxy has no port.");
  return {
    host: `localhost:${address.port}`,
    target(url, token) {
      to = new URL(url);
      bearer = token;
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function forward(request: IncomingMessage, response: ServerResponse, to: URL, bearer: string): void {
  const { method, url: path, headers } = request;
  const { hostname, port } = to;
  const onward = requestHttp({
    ...{ hostname, port, method, path },
    headers: { ...headers, authorization: `Bearer ${bearer}` },
  });
  onward.on("response", (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    response.flushHeaders();
    answer.pipe(response);
    answer.on("error", () => response.destroy());
  });
  onward.on("error", () => {
    if (response.headersSent) response.destroy();
    else response.writeHead(502).end();
  });
  response.on("close", () => onward.destroy());
  request.pipe(onward);
}

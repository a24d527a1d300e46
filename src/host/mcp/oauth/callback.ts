import { timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { createServer } from "node:http";
import { CapstanError } from "../../../core/error.ts";

/** What the authorization server sent back by the browser. The issuer is unchecked. */
interface CallbackAnswer {
  readonly code: string;
  readonly iss: string | undefined;
}

/** The place on loopback that a browser comes back to, once. */
export interface Callback extends AsyncDisposable {
  readonly redirectUrl: string;
  /** The first answer with the right state. Rejects with `mcp.sign_in_failed` when it is a refusal, and with the signal's reason. */
  readonly answer: Promise<CallbackAnswer>;
}

/**
 * Listens on 127.0.0.1 (RFC 8252, section 7.3) for the answer to the request with this state; port 0 takes a free one. A request with
 * another state or path, such as one by a page that guesses, changes nothing. Throws `mcp.sign_in_failed` where the port is taken.
 */
export async function openCallback(given: {
  readonly port: number;
  readonly state: string;
  readonly server: string;
  readonly signal: AbortSignal;
}): Promise<Callback> {
  const { port, state, server, signal } = given;
  const { promise: answer, resolve, reject } = Promise.withResolvers<CallbackAnswer>();
  // Whoever waits for the answer hears of it; nobody may be waiting yet.
  answer.catch(() => {});
  let isAnswered = false;
  const listener = createServer({ maxHeaderSize: 16 * 1024, requestTimeout: 10_000 }, (request, response) => {
    const url = URL.parse(request.url ?? "", "http://127.0.0.1");
    if (request.method !== "GET" || url?.pathname !== "/callback") return show(response, 404, "There is nothing here.");
    const { searchParams } = url;
    if (isAnswered || !isEqual(searchParams.get("state") ?? "", state)) {
      return show(response, 400, "This is not the sign-in that Capstan waits for.");
    }
    isAnswered = true;
    const code = searchParams.get("code");
    if (code !== null) resolve({ code, iss: searchParams.get("iss") ?? undefined });
    else reject(declined(server, searchParams.get("error")));
    show(
      response,
      200,
      code === null
        ? "The sign-in was not completed. You can close this window."
        : "Capstan has got the answer. You can close this window and go back to the terminal.",
    );
  });
  listener.listen(port, "127.0.0.1");
  try {
    await once(listener, "listening", { signal });
  } catch (cause) {
    signal.throwIfAborted();
    throw new CapstanError(
      "mcp.sign_in_failed",
      `Port ${port} on 127.0.0.1, which the sign-in at ${server} is to come back to, can't be listened on. End what listens there, or set another callbackPort.`,
      { cause },
    );
  }
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  const address = listener.address();
  const taken = typeof address === "object" && address !== null ? address.port : port;
  return {
    redirectUrl: `http://127.0.0.1:${taken}/callback`,
    answer,
    async [Symbol.asyncDispose]() {
      signal.removeEventListener("abort", onAbort);
      const closed = once(listener, "close");
      listener.close();
      listener.closeIdleConnections();
      // The page is on its way; a browser that keeps its connection open is not waited for.
      setTimeout(() => listener.closeAllConnections(), 500).unref();
      await closed;
    },
  };
}

function isEqual(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** The codes of RFC 6749, section 4.1.2.1; anything else, and every description, is the sender's own text and is not shown. */
const refusals =
  /^(?:access_denied|invalid_request|unauthorized_client|unsupported_response_type|invalid_scope|server_error|temporarily_unavailable)$/;

function declined(server: string, error: string | null): CapstanError {
  const reason = error !== null && refusals.test(error) ? error : "without a code";
  return new CapstanError(
    "mcp.sign_in_failed",
    `The sign-in at ${server} was refused (${reason}). To try again: capstan mcp login ${server}`,
  );
}

/** A page of fixed text: nothing of the request is in it. */
function show(response: ServerResponse, status: number, text: string): void {
  response
    .writeHead(status, {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
      "referrer-policy": "no-referrer",
      "cache-control": "no-store",
      connection: "close",
    })
    .end(`<!doctype html><html lang="en"><title>Capstan</title><p>${text}</p></html>\n`);
}

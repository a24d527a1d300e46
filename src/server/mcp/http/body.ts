import { isUtf8 } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { CapstanError, toCapstanError } from "../../../core/error.ts";
import { maxMessageBytes } from "../message.ts";
import { parseStrictJson } from "../strict-json.ts";

/** A request that is refused before it is a message. */
export interface BadBody {
  readonly status: 400 | 413 | 415;
  readonly code: number;
  readonly message: string;
}

/** The JSON of a POST, with one reading only; or what is wrong with it. Rejects where the client is gone. */
export async function readBody(request: IncomingMessage): Promise<{ readonly value: unknown } | BadBody> {
  if (!/^application\/json\s*(;|$)/i.test(request.headers["content-type"] ?? "")) {
    return { status: 415, code: -32_600, message: "Send application/json." };
  }
  const bytes = await readBytes(request);
  if (bytes === null) return { status: 413, code: -32_600, message: `A message has at most ${maxMessageBytes} bytes.` };
  try {
    if (!isUtf8(bytes)) throw new SyntaxError("not UTF-8");
    return { value: parseStrictJson(bytes.toString("utf8")) };
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return { status: 400, code: -32_700, message: "The body is no JSON in UTF-8." };
    const error = toCapstanError(thrown);
    if (!(thrown instanceof CapstanError)) throw thrown;
    return { status: 400, code: -32_600, message: `${error.code}: ${error.message}` };
  }
}

/** The body; null where it is too large. Node's own iterator over a request does the same at several times the cost. */
function readBytes(request: IncomingMessage): Promise<Buffer | null> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    // An error for each request, which is never thrown, would cost more than the reading.
    const leave = (): void => {
      if (!request.readableEnded) reject(request.errored ?? new Error("The client is gone."));
    };
    if (request.destroyed) return leave();
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length <= maxMessageBytes) chunks.push(chunk);
      else resolve(null);
    });
    request.once("end", () => resolve(Buffer.concat(chunks)));
    request.on("error", leave);
    request.once("close", leave);
  });
}

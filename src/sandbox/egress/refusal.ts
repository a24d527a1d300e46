import { errorCodes, toCapstanError, toText } from "../../core/error.ts";

/** The alert `access_denied` (RFC 8446, 6.2): how a TLS client is told no. */
export const accessDenied = Buffer.from([21, 3, 3, 0, 2, 2, 49]);

/** How an HTTP client is told no. The code is the reason phrase too: of an answer to CONNECT most programs show nothing else. */
export function toRefusal(thrown: unknown) {
  const error = toCapstanError(thrown);
  const body = `${toText(error)}\n`;
  const headers = {
    "Content-Type": "text/plain; charset=utf-8",
    "Content-Length": Buffer.byteLength(body),
    Connection: "close",
  };
  return { status: errorCodes[error.code].http, code: error.code, headers, body };
}

/** The same as it stands on the wire. */
export function toHttpRefusal(thrown: unknown): string | Buffer {
  const { status, code, headers, body } = toRefusal(thrown);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${code}\r\n${lines.join("")}\r\n${body}`;
}

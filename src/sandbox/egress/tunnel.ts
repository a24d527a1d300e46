import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { CapstanError } from "../../core/error.ts";
import { quote } from "../../core/value-in-words.ts";
import type { ConnectTarget } from "../engine.ts";
import { isRetryRequest, openHelloReader } from "./client-hello.ts";
import { readUntil } from "./sockets.ts";

/** The first byte of TLS: a record of the handshake. */
const tlsRecord = 22;

/** Whether a client that may speak begins TLS; what it said is left to be read. */
export async function beginsTls(client: Duplex): Promise<boolean> {
  return await readUntil(client, (chunk) => ({ found: chunk[0] === tlsRecord, used: 0 }));
}

/**
 * Carries the beginning of TLS, up to where the client can name no other server any more: its hello, and a second one where the server
 * asks for it (which it must be expected to believe). Each must name the target and nothing else; nothing of one that does not reaches
 * the server. Throws `sandbox.network_refused`.
 */
export async function carryHello(client: Duplex, server: Duplex, target: ConnectTarget): Promise<void> {
  server.write(await readHello(client, target, false));
  const answer = await readAnswer(server);
  client.write(answer.bytes);
  if (answer.isRetry) server.write(await readHello(client, target, true));
}

async function readHello(client: Duplex, target: ConnectTarget, isSecond: boolean): Promise<Buffer> {
  const reader = openHelloReader(isSecond);
  const chunks: Buffer[] = [];
  const { name } = await readUntil(client, (chunk) => {
    const end = reader.take(chunk);
    chunks.push(chunk.subarray(0, end?.used));
    return end === undefined ? undefined : { found: end.hello, used: end.used };
  });
  demandName(name, target);
  return Buffer.concat(chunks);
}

/** What of the answer shows whether it asks for a second hello. Until then the client is not listened to: it might send one unasked. */
async function readAnswer(server: Duplex): Promise<{ readonly isRetry: boolean; readonly bytes: Buffer }> {
  let bytes = Buffer.alloc(0);
  return await readUntil(server, (chunk) => {
    bytes = Buffer.concat([bytes, chunk]);
    const isRetry = isRetryRequest(bytes);
    return isRetry === undefined ? undefined : { found: { isRetry, bytes }, used: chunk.length };
  });
}

/** RFC 6066, 3: an address is never named. */
function demandName(name: string | null, { host }: ConnectTarget): void {
  const isAddress = host.startsWith("[") || isIP(host) !== 0;
  if (name === (isAddress ? null : host)) return;
  const named = name === null ? "no server" : `the server ${quote(name)}`;
  throw new CapstanError(
    "sandbox.network_refused",
    `The TLS hello names ${named}, and CONNECT named ${host}. Both must be the same.`,
  );
}

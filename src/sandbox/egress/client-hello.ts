import { CapstanError } from "../../core/error.ts";

/** A ClientHello with post-quantum keys has some 2 KiB. */
const maxHelloBytes = 16 * 1024;
/** What may come before it is complete, in records of any size. */
const maxHeldBytes = 64 * 1024;
const records = { changeCipherSpec: 20, handshake: 22, applicationData: 23 } as const;
const extensions = { serverName: 0, encryptedHello: 0xfe0d, encryptedName: 0xffce } as const;

/** What a ClientHello says about where it goes. `name` in lower case, as it stands there; null: it names no server. */
export interface ClientHello {
  readonly name: string | null;
}

/** Reads a ClientHello from what a client sends, which may be cut anywhere. */
export interface HelloReader {
  /** Takes what came next. undefined: more must come. `used` bytes of it belong to the hello; what is behind is left alone. */
  take(chunk: Buffer): { readonly hello: ClientHello; readonly used: number } | undefined;
}

/**
 * Reads the ClientHello that opens a TLS connection (RFC 8446, 4.1.2 and 5.1), or, `isSecond`, the one that answers a
 * HelloRetryRequest, before which other records may come. Strict: what is not exactly in form, and what hides the name of the server
 * from us (Encrypted Client Hello), throws `sandbox.network_refused`.
 */
export function openHelloReader(isSecond: boolean): HelloReader {
  const header = Buffer.alloc(5);
  const message = Buffer.alloc(maxHelloBytes);
  let headerBytes = 0;
  let messageBytes = 0;
  let recordLeft = 0;
  let held = 0;

  const beginRecord = () => {
    const [type, major] = header;
    recordLeft = header.readUInt16BE(3);
    const known = type === records.handshake || (isSecond && messageBytes === 0 && isSkipped(type));
    // RFC 8446, 5.1: at most 2^14 bytes, in encrypted records 256 more; a fragment of a handshake is never empty.
    if (!known || major !== 3 || recordLeft === 0 || recordLeft > 16_384 + 256) throw notTls();
  };

  return {
    take(chunk) {
      held += chunk.length;
      let at = 0;
      while (at < chunk.length) {
        if (recordLeft === 0) {
          const taken = chunk.copy(header, headerBytes, at, at + header.length - headerBytes);
          at += taken;
          headerBytes += taken;
          if (headerBytes < header.length) break;
          headerBytes = 0;
          beginRecord();
          continue;
        }
        const part = chunk.subarray(at, at + recordLeft);
        at += part.length;
        recordLeft -= part.length;
        if (header[0] !== records.handshake) continue;
        if (messageBytes + part.length > message.length) throw notTls();
        messageBytes += part.copy(message, messageBytes);
        const expected = messageBytes < 4 ? Infinity : 4 + message.readUIntBE(1, 3);
        if (expected !== Infinity && (message[0] !== 1 || expected > message.length)) throw notTls();
        if (messageBytes < expected) continue;
        // RFC 8446, 5.1: a ClientHello ends its record. What else stood there, a server might read otherwise than we do.
        if (messageBytes > expected || recordLeft > 0) throw notTls();
        return { hello: parseHello(message.subarray(4, expected)), used: at };
      }
      if (held > maxHeldBytes) throw notTls();
      return undefined;
    },
  };
}

const isSkipped = (type: number | undefined): boolean =>
  type === records.changeCipherSpec || type === records.applicationData;

function parseHello(body: Buffer): ClientHello {
  const hello = openFields(body);
  hello.bytes(2 + 32); // Version and random.
  hello.vector(1, 0, 32); // Session.
  hello.vector(2, 2, 65_534); // Cipher suites.
  hello.vector(1, 1, 255); // Compression.
  const all = hello.isEnd() ? openFields(Buffer.alloc(0)) : openFields(hello.vector(2, 0, 65_535));
  hello.end();
  const seen = new Set<number>();
  let name: string | null = null;
  while (!all.isEnd()) {
    const type = all.bytes(2).readUInt16BE();
    const data = all.vector(2, 0, 65_535);
    if (seen.has(type)) throw notTls();
    seen.add(type);
    if (type === extensions.encryptedHello || type === extensions.encryptedName) {
      throw refused("The TLS hello hides which server it is for (Encrypted Client Hello). Turn that off.");
    }
    if (type === extensions.serverName) name = parseServerName(data);
  }
  return { name };
}

/** RFC 6066, 3: one name of the one type there is. */
function parseServerName(data: Buffer): string {
  const extension = openFields(data);
  const names = openFields(extension.vector(2, 1, 65_535));
  extension.end();
  if (names.bytes(1)[0] !== 0) throw notTls();
  const name = names.vector(2, 1, 255).toString("latin1");
  names.end();
  if (!/^[\x21-\x7e]+$/.test(name)) throw notTls();
  return name.toLowerCase();
}

/** Reads fields one after the other; what is missing or left over throws. */
function openFields(data: Buffer) {
  let at = 0;
  const bytes = (count: number): Buffer => {
    const part = data.subarray(at, at + count);
    if (part.length < count) throw notTls();
    at += count;
    return part;
  };
  return {
    bytes,
    /** A vector whose length stands before it in `width` bytes. */
    vector(width: 1 | 2, min: number, max: number): Buffer {
      const length = bytes(width).readUIntBE(0, width);
      if (length < min || length > max) throw notTls();
      return bytes(length);
    },
    isEnd: () => at === data.length,
    end() {
      if (at !== data.length) throw notTls();
    },
  };
}

/** The random value by which a ServerHello is a HelloRetryRequest (RFC 8446, 4.1.3). */
const retryRandom = Buffer.from("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c", "hex");

/**
 * Whether what a server answers begins with a HelloRetryRequest, after which the client sends another hello; undefined: more must come
 * to know. Throws `sandbox.network_refused` for an answer that can't be read.
 */
export function isRetryRequest(answer: Buffer): boolean | undefined {
  const [type] = answer;
  if (type === undefined) return undefined;
  if (type !== records.handshake) return false;
  // Record, handshake header and version stand before it.
  const start = 5 + 4 + 2;
  const end = start + retryRandom.length;
  if (answer.length >= 5 && answer.readUInt16BE(3) < end - 5) throw notTls();
  if (answer.length < end) return undefined;
  return answer[5] === 2 && answer.subarray(start, end).equals(retryRandom);
}

function notTls(): CapstanError {
  return refused("What came after CONNECT is neither TLS nor HTTP in the form that this proxy reads.");
}

function refused(text: string): CapstanError {
  return new CapstanError("sandbox.network_refused", text);
}

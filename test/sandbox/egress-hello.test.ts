import { property, assert, array, constantFrom, integer, string, stringMatching, uint8Array } from "fast-check";
import { describe, expect, test } from "vitest";
import { CapstanError, toCapstanError } from "../../src/core/error.ts";
import { isRetryRequest, openHelloReader } from "../../src/sandbox/egress/client-hello.ts";
import { pureCases } from "../support/cases.ts";
import { captureHello } from "./egress-support.ts";

const u8 = (value: number) => Buffer.from([value]);
const u16 = (value: number) => Buffer.from([value >> 8, value & 255]);
const u24 = (value: number) => Buffer.from([value >> 16, (value >> 8) & 255, value & 255]);
const withLength = (length: (value: number) => Buffer, ...parts: readonly Buffer[]) => {
  const body = Buffer.concat(parts);
  return Buffer.concat([length(body.length), body]);
};
const extension = (type: number, ...data: readonly Buffer[]) => Buffer.concat([u16(type), withLength(u16, ...data)]);
const entry = (name: string, type = 0) => Buffer.concat([u8(type), withLength(u16, Buffer.from(name, "latin1"))]);
const named = (...entries: readonly Buffer[]) => extension(0, withLength(u16, ...entries));

interface Parts {
  readonly extensions?: readonly Buffer[] | null;
  readonly session?: number;
  readonly suites?: number;
  readonly compression?: number;
  readonly behind?: Buffer;
}

/** The handshake message, by RFC 8446, 4.1.2. */
function hello({
  extensions = [named(entry("a.test"))],
  session = 32,
  suites = 4,
  compression = 1,
  behind = Buffer.alloc(0),
}: Parts = {}): Buffer {
  const body = Buffer.concat([
    ...[u16(0x0303), Buffer.alloc(32, 7), withLength(u8, Buffer.alloc(session)), withLength(u16, Buffer.alloc(suites))],
    ...[
      withLength(u8, Buffer.alloc(compression)),
      extensions === null ? Buffer.alloc(0) : withLength(u16, ...extensions),
      behind,
    ],
  ]);
  return Buffer.concat([u8(1), withLength(u24, body)]);
}

const record = (payload: Buffer, type = 22, version = 0x0301) =>
  Buffer.concat([u8(type), u16(version), withLength(u16, payload)]);

/** In records of so many bytes each, the last size for all that is left. */
function inRecords(message: Buffer, sizes: readonly number[]): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < message.length;) {
    const size = sizes[parts.length] ?? message.length - at;
    parts.push(record(message.subarray(at, at + size)));
    at += size;
  }
  return Buffer.concat(parts);
}

/** What is no name: a name holds no space. */
const [more, refused] = ["more must come", "it is refused"];

/** What a reader makes of the bytes in such cuts: the name, `more` or `refused`. */
function read(
  bytes: Buffer,
  cuts: readonly number[] = [],
  isSecond = false,
): { readonly name: string | null; readonly used: number } {
  const reader = openHelloReader(isSecond);
  let at = 0;
  for (let index = 0; at < bytes.length; index += 1) {
    const chunk = bytes.subarray(at, at + (cuts[index] ?? bytes.length));
    try {
      const end = reader.take(chunk);
      if (end !== undefined) return { name: end.hello.name, used: at + end.used };
    } catch (thrown) {
      if (toCapstanError(thrown).code !== "sandbox.network_refused") throw thrown;
      return { name: refused, used: at };
    }
    at += chunk.length;
  }
  return { name: more, used: at };
}

const sizes = array(integer({ min: 1, max: 60 }), { maxLength: 200 });

describe("openHelloReader()", () => {
  test("finds the name in any cut, in records of any size, and takes nothing of what is behind", () => {
    assert(
      property(
        sizes,
        sizes,
        stringMatching(/^[a-zA-Z0-9._-]{1,80}$/),
        uint8Array({ maxLength: 40 }),
        (cuts, records, name, behind) => {
          const bytes = inRecords(
            hello({ extensions: [extension(10, u16(0)), named(entry(name)), extension(16, u16(0))] }),
            records,
          );
          expect(read(Buffer.concat([bytes, record(Buffer.from([...behind, 0]), 23)]), cuts)).toEqual({
            name: name.toLowerCase(),
            used: bytes.length,
          });
        },
      ),
      { numRuns: pureCases },
    );
  });

  test("finds the name that a real client sends, and none where it sends none", async () => {
    expect(read(await captureHello("API.example.test")).name).toBe("api.example.test");
    expect(read(await captureHello("")).name).toBeNull();
    expect(read(await captureHello("a.test", { maxVersion: "TLSv1.2" })).name).toBe("a.test");
  });

  test("never finds a name before the hello is whole, nor another one in a changed hello than stands in its name", () => {
    const bytes = record(hello());
    for (let length = 0; length < bytes.length; length += 1)
      expect(read(bytes.subarray(0, length)).name, String(length)).toBe(more);
    assert(
      property(integer({ min: 0, max: bytes.length - 1 }), integer({ min: 0, max: 255 }), (at, value) => {
        const changed = Buffer.from(bytes);
        changed[at] = value;
        const { name } = read(changed);
        const spelled = changed.subarray(-6).toString("latin1").toLowerCase();
        expect([spelled, null, more, refused]).toContain(name);
      }),
      { numRuns: pureCases },
    );
  });

  test("makes nothing but a refusal or a question for more of random bytes", () => {
    const header = constantFrom(
      Buffer.alloc(0),
      Buffer.from([22, 3, 1]),
      Buffer.from([22, 3, 1, 0, 60, 1, 0, 0, 56, 3, 3]),
    );
    assert(
      property(header, uint8Array({ maxLength: 300 }), sizes, (start, bytes, cuts) => {
        expect([more, refused]).toContain(read(Buffer.concat([start, bytes]), cuts).name);
      }),
      { numRuns: pureCases },
    );
  });

  test("refuses names of any other form", () => {
    assert(
      property(string({ unit: "binary", maxLength: 20 }), (text) => {
        const { name } = read(record(hello({ extensions: [named(entry(text))] })));
        const latin = Buffer.from(text, "latin1").toString("latin1");
        expect(name).toBe(/^[\x21-\x7e]+$/.test(latin) ? latin.toLowerCase() : refused);
      }),
      { numRuns: pureCases },
    );
  });

  const sni = named(entry("a.test"));
  test.for<[string, Buffer]>([
    ["two names", record(hello({ extensions: [named(entry("a.test"), entry("b.test"))] }))],
    ["two name extensions", record(hello({ extensions: [sni, named(entry("b.test"))] }))],
    ["any extension twice", record(hello({ extensions: [sni, extension(10), extension(10)] }))],
    ["a name of an unknown type", record(hello({ extensions: [named(entry("a.test", 1))] }))],
    ["an empty name", record(hello({ extensions: [named(entry(""))] }))],
    ["an empty list of names", record(hello({ extensions: [extension(0, u16(0))] }))],
    [
      "a name extension with something behind",
      record(hello({ extensions: [extension(0, withLength(u16, entry("a.test")), u8(0))] })),
    ],
    ["a name with a NUL", record(hello({ extensions: [named(entry("a.test\0.b.test"))] }))],
    ["an encrypted hello", record(hello({ extensions: [sni, extension(0xfe0d, u8(0))] }))],
    ["an encrypted name", record(hello({ extensions: [sni, extension(0xffce, u8(0))] }))],
    ["something behind the extensions", record(hello({ behind: u8(0) }))],
    ["a session that is too long", record(hello({ session: 33 }))],
    ["no cipher suites", record(hello({ suites: 0 }))],
    ["no compression", record(hello({ compression: 0 }))],
    ["a second message in its record", record(Buffer.concat([hello(), hello()]))],
    ["another message first", record(Buffer.concat([u8(2), hello().subarray(1)]))],
    ["another kind of record first", Buffer.concat([record(u8(1), 20), record(hello())])],
    [
      "another kind of record within",
      Buffer.concat([record(hello().subarray(0, 9)), record(u8(1), 20), record(hello().subarray(9))]),
    ],
    ["an empty record", Buffer.concat([record(Buffer.alloc(0)), record(hello())])],
    ["another protocol's version", record(hello(), 22, 0x0201)],
    ["the hello of SSL 2", Buffer.from([0x80, 0x2e, 1, 3, 1])],
    ["a hello without end", record(Buffer.concat([u8(1), u24(1 << 20), Buffer.alloc(9)]))],
    ["a record without end", Buffer.from([22, 3, 1, 255, 255])],
  ])("refuses %s", ([, bytes]) => {
    expect(read(bytes).name).toBe(refused);
  });

  test.for<[string, Buffer, string | null]>([
    ["no name", record(hello({ extensions: [extension(10)] })), null],
    ["no extensions at all", record(hello({ extensions: null })), null],
    ["a name among others", record(hello({ extensions: [extension(65_281, u8(0)), sni, extension(43)] })), "a.test"],
  ])("reads a hello with %s", ([, bytes, name]) => {
    expect(read(bytes).name).toBe(name);
  });

  test("reads a second hello behind other records, and holds no more of them than 64 KiB", () => {
    const change = record(u8(1), 20);
    const early = record(Buffer.alloc(16_000), 23);
    expect(read(Buffer.concat([change, early, record(hello())]), [], true).name).toBe("a.test");
    expect(read(Buffer.concat([early, early, early, early, early]), [1000, 1000], true).name).toBe(refused);
    expect(read(Buffer.concat([record(u8(1), 21), record(hello())]), [], true).name).toBe(refused);
  });
});

describe("isRetryRequest()", () => {
  const answer = (random: string) =>
    record(
      Buffer.concat([u8(2), withLength(u24, u16(0x0303), Buffer.from(random, "hex"), Buffer.alloc(40))]),
      22,
      0x0303,
    );
  const retry = answer("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c");

  test("tells a retry from an answer, as soon as that shows and no sooner", () => {
    for (let length = 0; length < 43; length += 1)
      expect(isRetryRequest(retry.subarray(0, length)), String(length)).toBeUndefined();
    expect(isRetryRequest(retry.subarray(0, 43))).toBe(true);
    expect(isRetryRequest(answer("00".repeat(32)))).toBe(false);
    expect(isRetryRequest(Buffer.from([21, 3, 3, 0, 2, 2, 40]))).toBe(false);
    expect(() => isRetryRequest(record(retry.subarray(5, 20)))).toThrow(CapstanError);
  });
});

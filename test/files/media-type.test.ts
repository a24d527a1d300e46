import { gzipSync } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { headBytes, toMediaType } from "../../src/files/media-type.ts";
import { plainCases } from "../support/cases.ts";

const bytes = (latin1: string): Buffer => Buffer.from(latin1, "latin1");

/** A zip's first entry, stored, as APPNOTE 4.3.7 lays it out; the next one's header follows. */
function zipOf(name: string, content: string, next = ""): Buffer {
  const header = Buffer.alloc(30);
  header.write("PK\x03\x04", "latin1");
  header.writeUInt32LE(content.length, 18);
  header.writeUInt32LE(content.length, 22);
  header.writeUInt16LE(name.length, 26);
  return Buffer.concat([header, bytes(name + content), bytes("PK\x03\x04"), Buffer.alloc(26), bytes(next)]);
}

const binaries: readonly (readonly [string, Uint8Array])[] = [
  ["image/png", bytes("\x89PNG\r\n\x1a\n\0\0\0\rIHDR")],
  ["image/jpeg", bytes("\xff\xd8\xff\xe0\0\x10JFIF")],
  ["image/gif", bytes("GIF89a\x01\0\x01\0")],
  ["image/tiff", bytes("II*\0\x08\0\0\0")],
  ["image/bmp", bytes("BM\x46\0\0\0\0\0\0\0\x36\0")],
  ["image/webp", bytes("RIFF\x24\0\0\0WEBPVP8 ")],
  ["image/avif", bytes("\0\0\0\x20ftypavif\0\0\0\0")],
  ["image/heic", bytes("\0\0\0\x18ftypheic\0\0\0\0")],
  ["image/vnd.microsoft.icon", bytes("\0\0\x01\0\x01\0\x10\x10")],
  ["audio/wav", bytes("RIFF\x24\0\0\0WAVEfmt ")],
  ["audio/mpeg", bytes("ID3\x04\0\0\0\0\0\0")],
  ["audio/flac", bytes("fLaC\0\0\0\x22")],
  ["application/ogg", bytes("OggS\0\x02\0\0")],
  ["video/mp4", bytes("\0\0\0\x18ftypisom\0\0\x02\0")],
  ["video/quicktime", bytes("\0\0\0\x14ftypqt  \0\0\0\0")],
  ["video/webm", bytes("\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x82\x84webm")],
  ["video/x-matroska", bytes("\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x82\x88matroska")],
  ["application/pdf", bytes("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")],
  ["application/gzip", gzipSync("x")],
  ["application/zstd", bytes("\x28\xb5\x2f\xfd\x24\0")],
  ["application/x-xz", bytes("\xfd7zXZ\0\0\x04")],
  ["application/x-7z-compressed", bytes("7z\xbc\xaf\x27\x1c\0\x04")],
  ["application/x-tar", Buffer.concat([bytes("name"), Buffer.alloc(253), bytes("ustar\x0000")])],
  ["application/x-elf", bytes("\x7fELF\x02\x01\x01\0")],
  ["application/wasm", bytes("\0asm\x01\0\0\0")],
  ["application/vnd.microsoft.portable-executable", bytes("MZ\x90\0\x03\0\0\0")],
  ["application/vnd.sqlite3", bytes("SQLite format 3\0\x10\0")],
  ["font/woff2", bytes("wOF2\0\x01\0\0")],
  ["application/zip", zipOf("a.txt", "text")],
  ["application/epub+zip", zipOf("mimetype", "application/epub+zip", "META-INF/container.xml")],
  [
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    zipOf("[Content_Types].xml", "\x01\x02", "word/document.xml"),
  ],
];

const texts: readonly (readonly [string, string])[] = [
  ["text/plain", "plain text\n"],
  ["text/plain", "Grüße, 世界, 👋\n"],
  ["text/plain", '{"json": true}'],
  ["text/plain", "MZ begins a text, too"],
  ["text/plain", "ID3 tags explained"],
  ["text/plain", "\x1b[31mcoloured\x1b[0m\r\n\f"],
  ["text/html", "\n<!DOCTYPE html><title>x</title>"],
  ["application/xml", '\ufeff<?xml version="1.0"?><a/>'],
  ["image/svg+xml", '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>'],
  ["application/rtf", "{\\rtf1\\ansi text}"],
  ["application/pdf", "%PDF-1.4\n1 0 obj"],
  ["inode/x-empty", ""],
];

describe("toMediaType()", () => {
  test.each(binaries)("knows %s by its bytes", (mediaType, head) => {
    expect(toMediaType(head)).toBe(mediaType);
  });

  test.each(texts)("takes text for %s: %j", (mediaType, text) => {
    expect(toMediaType(Buffer.from(text, "utf8"))).toBe(mediaType);
  });

  test("calls bytes that fit nothing a stream of octets", () => {
    expect(toMediaType(bytes("\0\x01\x02"))).toBe("application/octet-stream");
    expect(toMediaType(bytes("latin1 \xe9\xe8 is not UTF-8"))).toBe("application/octet-stream");
    expect(toMediaType(bytes("text with a NUL\0 in it"))).toBe("application/octet-stream");
    expect(toMediaType(bytes("PK\x03\x04"))).toBe("application/zip");
  });

  test("is not misled by a character that the end of the head cuts in two", () => {
    const long = Buffer.from(`${"x".repeat(headBytes - 2)}👋 and more`, "utf8");
    expect(toMediaType(long.subarray(0, headBytes))).toBe("text/plain");
    // The same bytes as a whole file are no text: the file ends inside a character.
    expect(toMediaType(long.subarray(headBytes - 10, headBytes))).toBe("application/octet-stream");
  });

  test("gives a media type for any bytes, and text only for what reads back as it was", () => {
    const head = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.string({ unit: "grapheme" }).map((text) => Buffer.from(text)),
      fc.tuple(fc.constantFrom(...binaries), fc.uint8Array()).map(([[, magic], rest]) => Buffer.concat([magic, rest])),
    );
    fc.assert(
      fc.property(head, (some) => {
        const mediaType = toMediaType(some);
        const isExact = Buffer.from(Buffer.from(some).toString("utf8"), "utf8").equals(some);
        const isUtf16 = some[0] === 0xff || some[0] === 0xfe;
        expect(mediaType).toMatch(/^[a-z]+\/[\w.+-]+$/);
        expect(mediaType !== "text/plain" || isExact || isUtf16).toBe(true);
      }),
      { numRuns: plainCases },
    );
  });
});

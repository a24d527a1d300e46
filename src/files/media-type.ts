import { isUtf8 } from "node:buffer";

/** How much of a file's beginning is looked at: enough for every signature here, tar's at 257 bytes included. */
export const headBytes = 4_096;

const unknown = "application/octet-stream";

/** How formats begin that may be text throughout. */
const textSignatures: readonly (readonly [start: string, mediaType: string])[] = [
  ["%PDF-", "application/pdf"],
  ["%!PS", "application/postscript"],
  ["{\\rtf", "application/rtf"],
];

/** Bytes (as latin1 text) that a binary file of the type has at an offset. From the formats' own specifications. */
const signatures: readonly (readonly [offset: number, bytes: string, mediaType: string])[] = [
  [0, "\x89PNG\r\n\x1a\n", "image/png"],
  [0, "\xff\xd8\xff", "image/jpeg"],
  [0, "GIF87a", "image/gif"],
  [0, "GIF89a", "image/gif"],
  [0, "II*\0", "image/tiff"],
  [0, "MM\0*", "image/tiff"],
  [0, "\0\0\x01\0", "image/vnd.microsoft.icon"],
  [0, "\x1f\x8b", "application/gzip"],
  [0, "BZh", "application/x-bzip2"],
  [0, "\xfd7zXZ\0", "application/x-xz"],
  [0, "\x28\xb5\x2f\xfd", "application/zstd"],
  [0, "7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"],
  [0, "Rar!\x1a\x07", "application/vnd.rar"],
  [257, "ustar", "application/x-tar"],
  [0, "\x7fELF", "application/x-elf"],
  [0, "\0asm", "application/wasm"],
  [0, "MZ", "application/vnd.microsoft.portable-executable"],
  [0, "\xcf\xfa\xed\xfe", "application/x-mach-binary"],
  [0, "\xca\xfe\xba\xbe", "application/java-vm"],
  [0, "SQLite format 3\0", "application/vnd.sqlite3"],
  [0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"],
  [0, "ID3", "audio/mpeg"],
  [0, "\xff\xfb", "audio/mpeg"],
  [0, "fLaC", "audio/flac"],
  [0, "OggS", "application/ogg"],
  [0, "wOFF", "font/woff"],
  [0, "wOF2", "font/woff2"],
  [0, "OTTO", "font/otf"],
  [0, "\0\x01\0\0\0", "font/ttf"],
];

/** The forms of RIFF, by the four bytes at 8, and the brands of ISO media files, by those after `ftyp`. */
const riffForms: ReadonlyMap<string, string> = new Map([
  ["WEBP", "image/webp"],
  ["WAVE", "audio/wav"],
  ["AVI ", "video/x-msvideo"],
]);
const isoBrands: ReadonlyMap<string, string> = new Map([
  ["avif", "image/avif"],
  ["heic", "image/heic"],
  ["mif1", "image/heif"],
  ["M4A ", "audio/mp4"],
  ["qt  ", "video/quicktime"],
]);
const officeFolders: ReadonlyMap<string, string> = new Map([
  ["word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"],
  ["xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"],
  ["ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"],
]);

/**
 * The media type of a file by its first bytes, never by its name. `head` is the whole file or its first `headBytes`. Text is what is
 * valid UTF-8 without control characters, or begins with a UTF-16 mark; an empty file is `inode/x-empty`; what nothing fits is
 * `application/octet-stream`.
 */
export function toMediaType(head: Uint8Array): string {
  if (head.length === 0) return "inode/x-empty";
  const bytes = Buffer.from(head).toString("latin1");
  return toTextType(head, bytes) ?? toBinaryType(bytes) ?? unknown;
}

/** Asked for what is no text, so that a text that begins with "MZ" or "ID3" stays one. */
function toBinaryType(bytes: string): string | undefined {
  return signatures.find(([offset, magic]) => bytes.startsWith(magic, offset))?.[2] ?? toContainerType(bytes);
}

function toContainerType(bytes: string): string | undefined {
  if (bytes.startsWith("RIFF")) return riffForms.get(bytes.slice(8, 12));
  if (bytes.startsWith("ftyp", 4)) return isoBrands.get(bytes.slice(8, 12)) ?? "video/mp4";
  if (bytes.startsWith("\x1a\x45\xdf\xa3")) return bytes.includes("webm") ? "video/webm" : "video/x-matroska";
  if (bytes.startsWith("PK\x03\x04")) return toZipType(bytes);
  // Two letters are little: the reserved fields of a bitmap's header are zero.
  return bytes.startsWith("BM") && bytes.startsWith("\0\0\0\0", 6) ? "image/bmp" : undefined;
}

/** A zip that is a document says so in its first entries: OpenDocument and EPUB by `mimetype`, Office by its folders (APPNOTE 4.3.7). */
function toZipType(bytes: string): string {
  const header = Buffer.from(bytes.slice(0, 30).padEnd(30, "\0"), "latin1");
  const nameEnd = 30 + header.readUInt16LE(26);
  const name = bytes.slice(30, nameEnd);
  if (name === "mimetype") {
    const from = nameEnd + header.readUInt16LE(28);
    const declared = bytes.slice(from, from + header.readUInt32LE(18));
    if (/^application\/[\w.+-]+$/.test(declared)) return declared;
  }
  const isOffice = name === "[Content_Types].xml" || name.startsWith("_rels/");
  const folder = isOffice ? [...officeFolders.keys()].find((start) => bytes.includes(start)) : undefined;
  return officeFolders.get(folder ?? "") ?? "application/zip";
}

function toTextType(head: Uint8Array, bytes: string): string | undefined {
  const signature = textSignatures.find(([start]) => bytes.startsWith(start));
  if (signature !== undefined) return signature[1];
  if (bytes.startsWith("\xff\xfe") || bytes.startsWith("\xfe\xff")) return "text/plain";
  if (head.some(isBinaryByte) || !isUtf8Head(head)) return undefined;
  const start = bytes
    .replace(/^\xef\xbb\xbf/, "")
    .trimStart()
    .slice(0, 512)
    .toLowerCase();
  if (start.startsWith("<!doctype html") || start.startsWith("<html")) return "text/html";
  if (start.startsWith("<svg") || (start.startsWith("<?xml") && start.includes("<svg"))) return "image/svg+xml";
  return start.startsWith("<?xml") ? "application/xml" : "text/plain";
}

/** A control character that texts don't hold: they hold tab, line ends, form feed, backspace and escape. */
function isBinaryByte(byte: number): boolean {
  return byte < 32 ? !textControls.has(byte) : byte === 127;
}

const textControls: ReadonlySet<number> = new Set([0x08, 0x09, 0x0a, 0x0c, 0x0d, 0x1b]);

/** Whether the bytes are UTF-8; where the file goes on behind them, the last character may be cut. */
function isUtf8Head(head: Uint8Array): boolean {
  const mayBeCut = head.length >= headBytes ? [0, 1, 2, 3] : [0];
  return mayBeCut.some((cut) => isUtf8(head.subarray(0, head.length - cut)));
}

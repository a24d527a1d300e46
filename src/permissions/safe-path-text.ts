import { isUtf8 } from "node:buffer";
import { CapstanError } from "../core/error.ts";

/** A path as text, taken apart: what it names, before anything is opened. `parts` holds no empty part, no `.` and no `..`. */
export interface PathText {
  readonly absolute: boolean;
  readonly parts: readonly string[];
}

/**
 * Takes a path apart without touching the disk. Empty parts and `.` are dropped; nothing else is changed: no trimming, no case folding,
 * no Unicode normalization and no decoding of `%2e`, because the exact bytes that were checked are the bytes that are opened. Throws
 * `files.bad_path` for the empty text, NUL, `..` as a part, backslashes, and text that has no exact UTF-8 form.
 */
export function parsePath(text: string): PathText {
  const parts = text.split("/").filter((part) => part !== "" && part !== ".");
  if (text === "") throw badPath(text, "it is empty");
  if (text.includes("\0")) throw badPath(text, "it holds a NUL character");
  if (text.includes("\\")) throw badPath(text, "it holds a backslash; parts are divided by / here");
  if (!text.isWellFormed()) throw badPath(text, "it holds half a surrogate pair, which no file name holds");
  if (parts.includes("..")) throw badPath(text, 'it holds a part ".."; name the place itself');
  return { absolute: text.startsWith("/"), parts };
}

/** An absolute path's one spelling: `/a//b/./c/` is `/a/b/c`. Throws `files.bad_path`, also for a relative path. */
export function normalizePath(text: string): string {
  const { absolute, parts } = parsePath(text);
  if (!absolute) throw badPath(text, "it is relative; begin it with /");
  return `/${parts.join("/")}`;
}

/** The parts of `path` below `folder`, both absolute; `[]` for the folder itself, null outside it. Compares parts, never substrings. */
export function partsBelow(folder: string, path: string): readonly string[] | null {
  const outer = parsePath(folder).parts;
  const inner = parsePath(path).parts;
  return outer.every((part, index) => part === inner[index]) ? inner.slice(outer.length) : null;
}

/** Names as the bytes that the disk holds. */
export const toNames = (parts: readonly string[]): readonly Buffer[] => parts.map((part) => Buffer.from(part, "utf8"));

/** A name as text for people. One that is not UTF-8 shows its bytes from 128 up as `\xNN`; such a name can't be asked for. */
export function showName(name: Uint8Array): string {
  if (isUtf8(name)) return Buffer.from(name).toString("utf8");
  return Array.from(name, (byte) => (byte < 128 ? String.fromCharCode(byte) : `\\x${byte.toString(16)}`)).join("");
}

/** The absolute path of names below a folder, as text for people. */
export function showPath(folder: string, names: readonly Uint8Array[]): string {
  return [folder === "/" ? "" : folder, ...names.map(showName)].join("/") || "/";
}

function badPath(text: string, why: string): CapstanError {
  const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
  return new CapstanError("files.bad_path", `${JSON.stringify(shown)} can't be used as a path: ${why}.`);
}

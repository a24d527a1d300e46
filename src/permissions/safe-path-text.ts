import { isUtf8 } from "node:buffer";
import { CapstanError } from "../core/error.ts";
import { pathParts } from "./path-rule.ts";

/** A path as text, taken apart: what it names, before anything is opened. `parts` holds no empty part, no `.` and no `..`. */
export interface PathText {
  readonly absolute: boolean;
  readonly parts: readonly string[];
}

/**
 * Takes a path apart without touching the disk, by the same rule by which grants are checked (`pathParts`): nothing is trimmed,
 * decoded, folded or normalized, because the exact bytes that were checked are the bytes that are opened. Throws `files.bad_path`.
 */
export function parsePath(text: string): PathText {
  const absolute = text.startsWith("/");
  // Half a surrogate pair has no UTF-8 form: it would be opened under another name than the one that was checked.
  const parts = text !== "" && text.isWellFormed() ? pathParts(absolute ? text : `/${text}`) : null;
  if (parts !== null) return { absolute, parts };
  const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
  throw new CapstanError(
    "files.bad_path",
    `${JSON.stringify(shown)} can't be used as a path. Write one with / between its parts, without parts "..", backslashes and NUL ` +
      "(percent-encoded ones too), of at most 4,096 characters.",
  );
}

/** An absolute path's one spelling: `/a//b/./c/` is `/a/b/c`. Throws `files.bad_path`, also for a relative path. */
export function normalizePath(text: string): string {
  const { absolute, parts } = parsePath(text);
  if (absolute) return `/${parts.join("/")}`;
  throw new CapstanError("files.bad_path", `${JSON.stringify(text)} is relative. Begin the path with /.`);
}

/** Names as the bytes that the disk holds. */
export const toNames = (parts: readonly string[]): readonly Buffer[] => parts.map((part) => Buffer.from(part, "utf8"));

/** A name as text for people. One that is not UTF-8 shows its bytes from 128 up as `\xNN`; such a name can't be asked for. */
export function showName(name: Uint8Array): string {
  if (isUtf8(name)) return Buffer.from(name).toString("utf8");
  return Array.from(name, (byte) => (byte < 128 ? String.fromCharCode(byte) : `\\x${byte.toString(16)}`)).join("");
}

/** Whether `showName` shows the very name, so that it can be asked for. */
export const isShownExactly = (name: Uint8Array): boolean => isUtf8(name) && !name.includes(0x5c);

/** The absolute path of names below a folder, as text for people. */
export function showPath(folder: string, names: readonly Uint8Array[]): string {
  return [folder === "/" ? "" : folder, ...names.map(showName)].join("/") || "/";
}

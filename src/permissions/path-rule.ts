import { CapstanError } from "../core/error.ts";

/** Linux's PATH_MAX: no longer path can be opened, and checking stays bounded. */
const maxPathLength = 4096;
const maxDecodings = 4;

/**
 * The parts of an absolute path, without the empty and `.` ones; null for what is no plain absolute path: relative, with a `..`
 * part, NUL or backslash, or longer than 4,096 characters. Part names are compared as they are: no case folding, no Unicode forms.
 *
 * A percent sign is an ordinary character of a name, but the path must also stay clear of `..`, NUL and backslash when it is
 * percent-decoded: a tool may take its argument for a URI and decode it, and what was checked must be what runs.
 */
export function pathParts(path: string): readonly string[] | null {
  const parts = plainParts(path);
  if (parts === null || !path.includes("%")) return parts;
  let decoded = path;
  for (let round = 0; round < maxDecodings; round++) {
    const next = decoded.replace(/%([0-7][0-9a-f])/gi, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
    if (next === decoded) return parts;
    if (plainParts(next) === null) return null;
    decoded = next;
  }
  return null;
}

function plainParts(path: string): readonly string[] | null {
  if (path.length > maxPathLength || !path.startsWith("/") || path.includes("\0") || path.includes("\\")) return null;
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  return parts.includes("..") ? null : parts;
}

/** A path in its one spelling: no `.`, no empty parts, no slash at the end; null where `pathParts` is null. */
export function plainPath(path: string): string | null {
  const parts = pathParts(path);
  return parts === null ? null : `/${parts.join("/")}`;
}

/** A folder or file that a person names for a grant, in its one spelling. Throws `usage.bad_option`. */
export function parseFolder(path: string): string {
  const plain = plainPath(path);
  if (plain !== null) return plain;
  throw new CapstanError(
    "usage.bad_option",
    `A grant names folders by absolute paths without .. parts, backslashes or NUL, not ${JSON.stringify(path.slice(0, 200))}.`,
  );
}

/**
 * Whether `path` is `folder` or lies below it, by whole parts: `/data` does not cover `/data-evil`. False when either is no plain
 * absolute path. This is about names only: symbolic links are the business of safe-path.ts.
 */
export function isUnder(folder: string, path: string): boolean {
  const above = pathParts(folder);
  const parts = pathParts(path);
  return (
    above !== null && parts !== null && above.length <= parts.length && above.every((part, at) => part === parts[at])
  );
}

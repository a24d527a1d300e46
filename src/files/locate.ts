import { CapstanError } from "../core/error.ts";
import type { Need } from "../permissions/grant.ts";
import { isUnder } from "../permissions/path-rule.ts";
import { parsePath, toNames } from "../permissions/safe-path-text.ts";

/** Where a path stands: the granted folder or file to begin at, and the names below it. */
export interface Located {
  readonly root: string;
  readonly names: readonly Buffer[];
}

/**
 * Finds the granted folder that a path is in; the outermost one, where several are, so that a link is judged by all that is granted
 * there. A relative path begins at the only granted folder. Nothing is opened: the answer for a path outside is the same whether it
 * exists or not. Throws `files.outside_root` and `files.bad_path`.
 */
export function locate(granted: readonly string[], path: string): Located {
  const { absolute, parts } = parsePath(path);
  if (!absolute) return { root: onlyRoot(granted, path), names: toNames(parts) };
  const plain = `/${parts.join("/")}`;
  const covering = granted.filter((folder) => isUnder(folder, plain));
  const [root] = covering.toSorted((a, b) => parsePath(a).parts.length - parsePath(b).parts.length);
  if (root === undefined) throw outside(plain);
  return { root, names: toNames(parts.slice(parsePath(root).parts.length)) };
}

function onlyRoot(granted: readonly string[], path: string): string {
  const [root, ...others] = granted;
  if (root !== undefined && others.length === 0) return root;
  if (root === undefined) throw outside(path);
  throw new CapstanError(
    "files.bad_path",
    `${JSON.stringify(path)} is relative, and several folders are granted: ${granted.join(", ")}. Begin the path with one of them.`,
  );
}

function outside(path: string): CapstanError {
  return new CapstanError("files.outside_root", `${JSON.stringify(path)} is in no granted folder. ${howToGrant}`);
}

/** What the operator does about a folder that is missing. */
export const howToGrant = "Start Capstan with --root DIR to let it read DIR.";

/**
 * What a call needs that names these paths. A relative one needs nothing beyond the tool: it begins at what is granted and can't leave
 * it, by `parsePath` and by the walk. Throws `files.bad_path`.
 */
export function readNeeds(paths: readonly string[]): readonly Need[] {
  return paths
    .map(parsePath)
    .filter(({ absolute }) => absolute)
    .map(({ parts }) => ({ type: "read", path: `/${parts.join("/")}` }));
}

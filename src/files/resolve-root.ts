import { isUtf8 } from "node:buffer";
import { realpath } from "node:fs/promises";
import { resolve } from "node:path";
import { CapstanError } from "../core/error.ts";
import { openRoot } from "../permissions/safe-path.ts";
import { toRefusal } from "../permissions/safe-path-place.ts";
import { normalizePath } from "../permissions/safe-path-text.ts";

/**
 * The real path of a folder or file that the operator names, for a grant: absolute (relative to the working folder), links resolved
 * once, now, while the person who names it is there. Throws `files.not_found`, `files.no_access`, `files.special_file` for devices,
 * pipes and the kernel's own file systems, and `files.bad_path` for a path that a grant can't hold.
 */
export async function resolveRoot(path: string): Promise<string> {
  const asked = resolve(path);
  let real: Buffer;
  try {
    real = await realpath(asked, { encoding: "buffer" });
  } catch (thrown) {
    throw toRefusal(thrown, asked);
  }
  if (!isUtf8(real)) {
    const shown = JSON.stringify(asked);
    throw new CapstanError("files.bad_path", `${shown} has a name that is not UTF-8. Grant a folder above it instead.`);
  }
  const granted = normalizePath(real.toString("utf8"));
  openRoot(granted)[Symbol.dispose]();
  return granted;
}

import { isMap, parseDocument } from "yaml";
import type { Document } from "yaml";
import { parseConfig } from "../config.ts";
import { CapstanError, toCapstanError } from "../core/error.ts";
import { readIfThere, replaceFile } from "./replace-file.ts";

/** Where the servers stand in the config. */
const place = ["mcp", "servers"] as const;

/**
 * Changes `mcp.servers` in a config file, made where there is none, and keeps its comments and its order. What comes out must be a good
 * config, or nothing is written. Throws `config.*`.
 */
export async function editServers(
  path: string,
  change: (document: Document, at: readonly string[]) => void,
): Promise<void> {
  const before = await readIfThere(path);
  await parseConfig(before, path);
  const document: Document = parseDocument(before);
  // An anchor may stand for the part in other places too: what is changed here would change there.
  for (const at of [place.slice(0, 1), place]) {
    const node = document.getIn(at, true);
    if (node !== undefined && !isMap(node)) throw cannotEdit(path, `${at.join(".")} is an alias`);
    // `servers: {}` on one line would keep all that is added on that line.
    if (isMap(node) && node.items.length === 0) node.flow = false;
  }
  const after = write(document, path, change);
  await parseConfig(after, path);
  await replaceFile(path, before, after);
}

/** A server that others refer to by its anchor can't go without them. */
function write(document: Document, path: string, change: (document: Document, at: readonly string[]) => void): string {
  try {
    change(document, place);
    return document.toString({ lineWidth: 0 });
  } catch (thrown) {
    throw cannotEdit(path, toCapstanError(thrown).message, thrown);
  }
}

function cannotEdit(path: string, why: string, cause?: unknown): CapstanError {
  return new CapstanError("config.malformed", `${path} is left as it is: ${why}. Edit it by hand.`, { cause });
}

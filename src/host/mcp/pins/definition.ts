import { canonicalJson, sha256 } from "../../../core/json.ts";
import type { Json } from "../../../core/json.ts";
import type { WireTool } from "../connection/connection.ts";
import type { PinnedTool } from "./pins.ts";

/** All that a client or a model is told of a tool. What a server may change unasked (icons, `_meta`) is dropped, so it tells nothing. */
const covered = ["name", "title", "description", "inputSchema", "outputSchema", "annotations"];

const maxCharacters = 1024 * 1024;
const maxLevels = 64;

/**
 * A tool cut down to what its pin covers, with that pin. Undefined for a definition that can't be pinned: more than 1 Mi characters, more
 * than 64 levels deep, or with a number too large for JSON.
 */
export function toPinned(tool: WireTool): PinnedTool | undefined {
  const kept = covered.flatMap((key) => {
    const value = Object.hasOwn(tool, key) ? tool[key] : undefined;
    return value === undefined ? [] : [[key, value] as const];
  });
  const definition = { ...Object.fromEntries(kept), name: tool.name, inputSchema: tool.inputSchema };
  return isBounded(definition) ? { definition, pin: sha256(canonicalJson(definition)) } : undefined;
}

/** Without recursion: a server chooses how deep it goes. */
function isBounded(definition: Json): boolean {
  let characters = 0;
  let level: readonly Json[] = [definition];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > maxLevels) return false;
    const next: Json[] = [];
    for (const value of level) {
      characters += 1;
      if (typeof value === "string") characters += value.length;
      else if (typeof value === "number" && !Number.isFinite(value)) return false;
      else if (typeof value === "object" && value !== null) {
        for (const [key, item] of Object.entries(value)) {
          if (!Array.isArray(value)) characters += key.length;
          next.push(item);
        }
      }
      if (characters > maxCharacters) return false;
    }
    level = next;
  }
  return true;
}

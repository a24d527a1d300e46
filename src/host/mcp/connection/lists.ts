import { isJsonObject, type JsonObject } from "../../../core/json.ts";
import { CapstanError } from "../../../core/error.ts";
import type { WirePrompt, WireResource, WireResourceTemplate, WireTool } from "./connection.ts";
import { broken } from "./peer.ts";

const maxPages = 200;
const maxItems = 10_000;
/** All pages of a list together, as JSON. */
const maxCharacters = 32 * 1024 * 1024;

/** One of the lists of a server. */
export interface ListName<T extends JsonObject> {
  readonly method: string;
  readonly key: string;
  /** Without it, the server has no such list. */
  readonly capability: "tools" | "resources" | "prompts";
  readonly isWhole: (item: JsonObject) => item is T;
}

const hasTexts = (item: JsonObject, ...keys: readonly string[]): boolean =>
  keys.every((key) => typeof item[key] === "string");

export const lists = {
  tools: {
    ...{ method: "tools/list", key: "tools", capability: "tools" },
    isWhole: (item): item is WireTool => hasTexts(item, "name") && isJsonObject(item["inputSchema"]),
  } satisfies ListName<WireTool>,
  resources: {
    ...{ method: "resources/list", key: "resources", capability: "resources" },
    isWhole: (item): item is WireResource => hasTexts(item, "uri", "name"),
  } satisfies ListName<WireResource>,
  templates: {
    ...{ method: "resources/templates/list", key: "resourceTemplates", capability: "resources" },
    isWhole: (item): item is WireResourceTemplate => hasTexts(item, "uriTemplate", "name"),
  } satisfies ListName<WireResourceTemplate>,
  prompts: {
    ...{ method: "prompts/list", key: "prompts", capability: "prompts" },
    isWhole: (item): item is WirePrompt => hasTexts(item, "name"),
  } satisfies ListName<WirePrompt>,
};

/**
 * Reads every page of a list; a list that the server does not know is empty. Throws `mcp.protocol` for one that goes on for ever, and
 * what `request` throws.
 */
export async function readPages(
  server: string,
  list: { readonly method: string; readonly key: string },
  request: (method: string, params: JsonObject) => Promise<JsonObject>,
): Promise<readonly JsonObject[]> {
  const items: JsonObject[] = [];
  const seen = new Set<string>();
  let characters = 0;
  let cursor: string | undefined;
  for (;;) {
    const page = await request(list.method, cursor === undefined ? {} : { cursor }).catch((thrown: unknown) => {
      // Servers that offer resources often know no templates.
      if (thrown instanceof CapstanError && thrown.details["code"] === -32_601) return { [list.key]: [] };
      throw thrown;
    });
    const found = page[list.key];
    if (!Array.isArray(found)) throw broken(server, `answered ${list.method} without ${list.key}`);
    items.push(...found.filter(isJsonObject));
    characters += JSON.stringify(found).length;
    if (characters > maxCharacters) throw broken(server, `lists more than ${maxCharacters} characters of ${list.key}`);
    if (items.length > maxItems) throw broken(server, `lists more than ${maxItems} ${list.key}`);
    const next = page["nextCursor"];
    if (typeof next !== "string") return items;
    if (seen.has(next)) throw broken(server, `gave the same cursor of ${list.method} twice`);
    seen.add(next);
    if (seen.size >= maxPages) throw broken(server, `has more than ${maxPages} pages of ${list.key}`);
    cursor = next;
  }
}

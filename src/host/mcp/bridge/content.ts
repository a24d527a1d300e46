import type { Block } from "../../../core/event.ts";
import { canonicalJson, isJsonObject, type Json, type JsonObject } from "../../../core/json.ts";
import type { ResourceContents } from "../../../tools/resource.ts";
import type { BridgedUris } from "./uris.ts";
import { showText } from "../connection/text.ts";

/** The blocks of a server's result or prompt in our words, their URIs as they are published. One of no known form becomes a note. */
export function toBlocks(content: readonly Json[], uris: BridgedUris): readonly Block[] {
  return content.map((item) => toBlock(item, uris) ?? { type: "text", text: `[left out: ${describe(item)}]` });
}

/** What a resource holds, its URIs as they are published. What has neither text nor bytes is left out. */
export function toContents(contents: readonly Json[], uris: BridgedUris): readonly ResourceContents[] {
  return contents.flatMap((item) => (isJsonObject(item) ? (toPart(item, uris) ?? []) : []));
}

/**
 * The blocks without the text that repeats `value`: servers write structured content as a block of text too, for clients that know
 * only text, and so do we.
 */
export function withoutCopy(blocks: readonly Block[], value: Json): readonly Block[] {
  const plain = JSON.stringify(value);
  let sorted: string | undefined;
  const canonical = (): string => (sorted ??= canonicalJson(value));
  return blocks.filter((block) => block.type !== "text" || !(block.text === plain || isCopy(block.text, canonical)));
}

/** Whether it is the same but for blanks and the order of keys. */
function isCopy(text: string, canonical: () => string): boolean {
  if (!/^\s*[{[]/.test(text)) return false;
  try {
    return canonicalJson(JSON.parse(text)) === canonical();
  } catch {
    return false;
  }
}

function toBlock(item: Json, uris: BridgedUris): Block | undefined {
  if (!isJsonObject(item)) return undefined;
  const { text, data, mimeType, resource } = item;
  const annotations = isJsonObject(item["annotations"]) ? { annotations: item["annotations"] } : {};
  switch (item["type"]) {
    case "text":
      return typeof text === "string" ? { type: "text", text, ...annotations } : undefined;
    case "image":
    case "audio":
      if (typeof data !== "string" || typeof mimeType !== "string") return undefined;
      return { type: item["type"], data, mimeType, ...annotations };
    case "resource": {
      const part = isJsonObject(resource) ? toPart(resource, uris) : undefined;
      return part === undefined ? undefined : { type: "resource", ...part, ...annotations };
    }
    case "resource_link":
      return toLink(item, uris, annotations);
    default:
      return undefined;
  }
}

function toLink(item: JsonObject, uris: BridgedUris, annotations: { annotations?: JsonObject }): Block | undefined {
  const { uri, name, size } = item;
  if (typeof uri !== "string" || typeof name !== "string") return undefined;
  return {
    ...{ type: "resource_link", uri: uris.toPublished(uri), name },
    ...textsOf(item, "title", "description", "mimeType"),
    ...(typeof size === "number" && Number.isInteger(size) ? { bytes: size } : {}),
    ...annotations,
  };
}

function toPart({ uri, mimeType, text, blob }: JsonObject, uris: BridgedUris): ResourceContents | undefined {
  if (typeof uri !== "string") return undefined;
  const part = { uri: uris.toPublished(uri), ...(typeof mimeType === "string" ? { mimeType } : {}) };
  if (typeof text === "string") return { ...part, text };
  return typeof blob === "string" ? { ...part, blob } : undefined;
}

/** Those of the fields that hold a text. */
export function textsOf<K extends string>(item: JsonObject, ...keys: readonly K[]): { readonly [key in K]?: string } {
  const found: { [key in K]?: string } = {};
  for (const key of keys) {
    const value = item[key];
    if (typeof value === "string") found[key] = value;
  }
  return found;
}

function describe(item: Json): string {
  const type = isJsonObject(item) && typeof item["type"] === "string" ? item["type"] : "";
  return type === "" ? "a part of the result that has no type" : `a part of the result of type ${showText(type, 40)}`;
}

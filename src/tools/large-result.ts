import { CapstanError, toCapstanError } from "../core/error.ts";
import type { Block } from "../core/event.ts";
import type { Json } from "../core/json.ts";
import type { Taint } from "../core/taint.ts";
import { mayRead } from "../permissions/demand.ts";
import { toResource } from "./artifact-resources.ts";
import type { Artifact, Artifacts, ArtifactOwner } from "./artifacts.ts";
import { artifactPrefix } from "./artifacts.ts";
import { toResult } from "./result.ts";
import type { Outcome, Tool } from "./tool.ts";

type Done = Extract<Outcome, { type: "done" }>;

/**
 * The largest answer, in bytes as JSON. Clients on stdio read messages of 10 MiB by default and drop the whole connection at the first
 * that is larger.
 */
export const answerBytes = 4 * 1024 * 1024;

/** Room for the links to what a tool keeps of a value that it makes smaller. */
const linkBytes = 2 * 1024;

/** How much of what is kept stands in the answer, in characters. */
const previewChars = 2_000;
/** More parts than this are kept as one. */
const maxLinks = 16;

/** Where a result that is too large goes, and what it is. */
export interface Keeping {
  readonly artifacts: Artifacts;
  readonly owner: ArtifactOwner;
  readonly callId: string;
  /** The tool's name. */
  readonly name: string;
  /** Of the whole result, what came in through nested calls included. */
  readonly taint: Taint;
  /** Of the result as JSON, without pictures and sound: clients show those to models that see and hear, and count them otherwise. */
  readonly maxTextBytes: number;
  /** The tool, as clients were told of it; missing: it is gone. */
  readonly tool: Pick<Tool, "outputSchema" | "abridge"> | undefined;
}

/** A part of a result, with its size in the answer, and what it is where it is kept. */
interface Part {
  readonly block: Block | null;
  readonly size: number;
  readonly toContent: () => { readonly mimeType: string; readonly bytes: Buffer };
}

/**
 * A result that fits, as it is; of a larger one, what has room, and links to the rest, which is kept whole as artifacts: where the tool
 * makes its values smaller itself, as it does that; else with the beginning of the first.
 *
 * Where a value is left out that clients were told a schema for, the result is an error, `tool.too_large`. A result that is none must
 * have structured content that fits the schema (MCP 2025-06-18 and later, server/tools, Output Schema), and the official clients throw
 * one away that has not, links included; errors they hand on as they are. A value that was cut until it fits would be taken for whole.
 *
 * Throws what keeps the parts from being saved: `tool.too_large`, `store.*`.
 */
export async function toLinked(outcome: Done, keeping: Keeping): Promise<Done> {
  const { name, maxTextBytes, tool } = keeping;
  const { text: textBytes, media: mediaBytes } = measure(outcome, maxTextBytes);
  const fits = (part: Done, spare = 0): boolean => {
    const { text, media } = part === outcome ? { text: textBytes, media: mediaBytes } : measure(part, maxTextBytes);
    return text + spare <= maxTextBytes && text + spare + media <= answerBytes;
  };
  if (fits(outcome)) return outcome;
  const abridged = await toAbridged(outcome, keeping, (part) => fits(part, linkBytes));
  if (fits(abridged)) return abridged;

  // Where the value is small by now, the rest goes: links to many files, each with a long name. The rest of the answer is for the links.
  const room = { text: Math.min(maxTextBytes, answerBytes / 2) / 2, media: answerBytes / 2 };
  const [kept, rest]: [Part[], Part[]] = [[], []];
  for (const part of toParts(abridged, outcome.value)) {
    const kind = isMedia(part.block) ? "media" : "text";
    if (part.size <= room[kind]) {
      room[kind] -= part.size;
      kept.push(part);
    } else rest.push(part);
  }
  const saved = await saveAll(
    rest.length > maxLinks ? [...rest.slice(0, maxLinks - 1), together(rest.slice(maxLinks - 1))] : rest,
    keeping,
  );

  const { value: _value, content: _content, ...others } = outcome;
  const isValueGone = rest.some(({ block }) => block === null);
  const isError = outcome.isError === true || (isValueGone && tool?.outputSchema !== undefined);
  const code = outcome.code ?? (isError && outcome.isError !== true ? ("tool.too_large" as const) : undefined);
  const ended = outcome.isError === true ? "The call failed." : "The call was carried out; don't repeat it.";
  const measured = `${textBytes} bytes as JSON${mediaBytes === 0 ? "" : `, and ${mediaBytes} of pictures or sound`}`;
  const said = `${ended} The result of ${name} has ${measured}. An answer has ${maxTextBytes}, and ${answerBytes} in all.`;
  const text = [
    code === "tool.too_large" ? `${code}: ${said}` : said,
    `What has no room is kept whole: ${saved.map(inWords).join("; ")}.`,
    ...toReadingHint(keeping),
    ...toPreview(rest),
  ].join("\n");
  return {
    ...others,
    ...(isValueGone || abridged.value === undefined ? {} : { value: abridged.value }),
    content: [{ type: "text", text }, ...kept.flatMap(({ block }) => block ?? []), ...saved.map(toLink)],
    ...(isError ? { isError } : {}),
    ...(code === undefined ? {} : { code }),
  };
}

/** The outcome with its value as the tool makes it smaller, and links to what it keeps of it; as it was where the tool does not do that. */
async function toAbridged(outcome: Done, keeping: Keeping, fits: (outcome: Done) => boolean): Promise<Done> {
  const { value, content = [] } = outcome;
  const { tool } = keeping;
  if (value === undefined || tool?.abridge === undefined) return outcome;
  const saved: Artifact[] = [];
  const shorter = await tool.abridge(value, {
    fits: (part) => fits({ ...outcome, value: part }),
    async keep(part) {
      const artifact = await save(part, keeping);
      saved.push(artifact);
      return artifact.uri;
    },
  });
  const hint = toReadingHint(keeping).map((text) => ({ type: "text" as const, text }));
  return { ...outcome, value: shorter, content: [...content, ...saved.map(toLink), ...hint] };
}

function toReadingHint({ owner }: Keeping): readonly string[] {
  if (mayRead(owner.grant, artifactPrefix)) return [];
  return [`This grant may not read it; one that may holds the right to the resources under ${artifactPrefix}.`];
}

/** The bytes of a result as JSON: of its pictures and sound, and of all else. An upper bound for what is surely small. */
function measure(outcome: Done, maxBytes: number): { readonly text: number; readonly media: number } {
  const { content = [] } = outcome;
  const media = content.filter(isMedia).reduce((sum, block) => sum + sizeOf(block), 0);
  const others = media === 0 ? outcome : { ...outcome, content: content.filter((block) => !isMedia(block)) };
  const json = JSON.stringify(toResult(others));
  // A UTF-16 unit is at most 3 bytes.
  return { text: json.length * 3 <= maxBytes ? json.length : Buffer.byteLength(json), media };
}

const isMedia = (block: Block | null): boolean => block?.type === "image" || block?.type === "audio";

/** The parts of a result. Its value is kept as it was in whole. */
function toParts({ value, content = [] }: Done, whole: Json = null): readonly Part[] {
  const blocks = content.map((block) => ({ block, size: sizeOf(block), toContent: () => toContent(block) }));
  if (value === undefined) return blocks;
  // It stands in the answer twice: as structured content, and as text.
  const size = sizeOf(toResult({ type: "done", value }));
  return [{ block: null, size, toContent: () => ofJson(whole) }, ...blocks];
}

const sizeOf = (value: object): number => Buffer.byteLength(JSON.stringify(value));

const ofJson = (value: Json | Block): { mimeType: string; bytes: Buffer } => ({
  mimeType: "application/json",
  bytes: Buffer.from(JSON.stringify(value)),
});

function toContent(block: Block): { mimeType: string; bytes: Buffer } {
  switch (block.type) {
    case "text":
      return { mimeType: "text/plain", bytes: Buffer.from(block.text) };
    case "image":
    case "audio":
      return { mimeType: block.mimeType, bytes: Buffer.from(block.data, "base64") };
    case "resource":
      return block.blob === undefined
        ? { mimeType: block.mimeType ?? "text/plain", bytes: Buffer.from(block.text ?? "") }
        : { mimeType: block.mimeType ?? "application/octet-stream", bytes: Buffer.from(block.blob, "base64") };
    default:
      return ofJson(block);
  }
}

/** Many parts as one: the list of their blocks. */
function together(parts: readonly Part[]): Part {
  const blocks = parts.flatMap(({ block }) => block ?? []);
  return { block: blocks[0] ?? null, size: 0, toContent: () => ofJson(blocks) };
}

async function saveAll(parts: readonly Part[], keeping: Keeping): Promise<readonly Artifact[]> {
  const saved: Artifact[] = [];
  for (const [index, part] of parts.entries()) {
    saved.push(await save({ ...part.toContent(), name: `${keeping.name}-${index + 1}` }, keeping));
  }
  return saved;
}

async function save(
  part: { readonly name: string; readonly mimeType: string; readonly bytes: Uint8Array },
  { artifacts, owner, callId, name, taint }: Keeping,
): Promise<Artifact> {
  try {
    return await artifacts.save({ ...owner, ...part, taint, callId });
  } catch (cause) {
    const { code, message } = toCapstanError(cause);
    throw new CapstanError(code, `${name} was carried out, but its result is too large to answer. ${message}`, {
      cause,
    });
  }
}

/** The beginning of the first part that is text. */
function toPreview(parts: readonly Part[]): readonly string[] {
  for (const part of parts) {
    const { mimeType, bytes } = part.toContent();
    if (!/^text\/|json$/.test(mimeType)) continue;
    const text = bytes.subarray(0, previewChars * 4).toString();
    return [text.length > previewChars ? `It begins:\n${text.slice(0, previewChars).toWellFormed()}…` : text];
  }
  return [];
}

/** Where a kept part is and how it is read, in words. */
export function inWords(artifact: Artifact): string {
  const { uri, mimeType, bytes, description = "" } = { ...toResource(artifact) };
  return `${uri} (${mimeType}, ${bytes} bytes)${description === "" ? "" : `. ${description.replace(/\.$/, "")}`}`;
}

const toLink = (artifact: Artifact): Block => ({ type: "resource_link", ...toResource(artifact) });

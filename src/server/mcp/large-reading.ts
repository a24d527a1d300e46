import { CapstanError } from "../../core/error.ts";
import type { Taint } from "../../core/taint.ts";
import { mayRead } from "../../permissions/demand.ts";
import type { Grant } from "../../permissions/grant.ts";
import type { Artifact } from "../../tools/artifacts.ts";
import { artifactPrefix } from "../../tools/artifacts.ts";
import { inWords } from "../../tools/large-result.ts";
import type { ResourceContents } from "../../tools/resource.ts";
import type { Offering } from "./offering.ts";

/**
 * The most that is read at a time, in bytes as JSON. More than a result has, since an artifact's part of 1 MiB may take six times as
 * much; less than the 10 MiB at which clients on stdio drop the connection.
 */
const readingBytes = 8 * 1024 * 1024;

/** More contents than this are not kept. */
const maxKept = 16;

/** Where a resource that is too large is kept, and for whom. */
interface Reading {
  readonly uri: string;
  readonly grant: Grant;
  readonly callId: string;
  readonly taint: Taint;
}

/**
 * Throws `resource.too_large` where a client could not take what a resource holds. Then it is kept as artifacts, and the error says how
 * they are read in parts: what is returned for a URI is what stands there, never a beginning or something else in its place.
 */
export async function demandReadable(
  contents: readonly ResourceContents[],
  reading: Reading,
  offering: Offering | undefined,
): Promise<void> {
  const bytes = sizeOf(contents);
  if (bytes <= readingBytes) return;
  const said = `${reading.uri.slice(0, 256)} has ${bytes} bytes as JSON, and an answer ${readingBytes}.`;
  const isKept = offering !== undefined && contents.length <= maxKept && mayRead(reading.grant, artifactPrefix);
  if (!isKept) {
    throw new CapstanError(
      "resource.too_large",
      `${said} Read parts of it, where its server has such, or under a grant that may read ${artifactPrefix}.`,
    );
  }
  const kept: string[] = [];
  for (const content of contents) kept.push(inWords(await save(content, reading, offering)));
  throw new CapstanError("resource.too_large", `${said} It is kept whole: ${kept.join("; ")}.`);
}

/** Throws `prompt.too_large` where a client could not take the messages of a prompt. */
export function demandSendable(name: string, prompt: object): void {
  const bytes = sizeOf(prompt);
  if (bytes <= readingBytes) return;
  throw new CapstanError(
    "prompt.too_large",
    `The prompt ${name} has ${bytes} bytes as JSON, and an answer ${readingBytes}. Give it arguments that make less of it.`,
  );
}

/** The bytes as JSON; an upper bound for what is surely small. */
function sizeOf(answer: object): number {
  const json = JSON.stringify(answer);
  return json.length * 3 <= readingBytes ? json.length : Buffer.byteLength(json);
}

async function save(
  content: ResourceContents,
  { uri, grant, callId, taint }: Reading,
  { artifacts }: Offering,
): Promise<Artifact> {
  const { principal, scope } = grant;
  const isText = "text" in content;
  return await artifacts.save({
    ...{ principal, scope, grant, callId, taint },
    name: uri.slice(-64).toWellFormed(),
    mimeType: content.mimeType ?? (isText ? "text/plain" : "application/octet-stream"),
    bytes: isText ? Buffer.from(content.text) : Buffer.from(content.blob, "base64"),
  });
}

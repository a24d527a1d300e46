import { isUtf8 } from "node:buffer";
import type { Artifact, Artifacts } from "./artifacts.ts";
import { artifactPrefix } from "./artifacts.ts";
import type { Resource, ResourceContents, ResourceSource } from "./resource.ts";

/**
 * A larger artifact is read in parts of this many bytes: clients on stdio drop the connection at the first message above 10 MiB, and
 * text may take six bytes of JSON for one of its own.
 */
const partBytes = 1024 * 1024;

/** The most that the port of resources lists. */
const maxListed = 1_000;

/**
 * The artifacts among the resources: `capstan://artifacts/ID`, and `capstan://artifacts/ID/N` for the Nth part of a large one, from 1.
 * Read by its first address, a large one gives its first part, under the address of that.
 */
export function artifactResources(artifacts: Artifacts): ResourceSource {
  return {
    name: "artifacts",
    owns: (uri) => uri.startsWith(artifactPrefix),
    list: async (context) => (await artifacts.list(context, { limit: maxListed })).map(toResource),
    templates: async () => [
      {
        uriTemplate: `${artifactPrefix}{id}`,
        name: "artifact",
        description: "A file that code made, or a result that was too large for an answer.",
      },
      { uriTemplate: `${artifactPrefix}{id}/{part}`, name: "part of an artifact", description: "Of 1 MiB, from 1." },
    ],
    async read(uri, context) {
      const [id = "", part, ...more] = uri.slice(artifactPrefix.length).split("/");
      if (more.length > 0 || (part !== undefined && !/^[1-9]\d{0,5}$/.test(part))) return null;
      const found = await artifacts.read(context, id);
      if (found === null) return null;
      const { mimeType, bytes, taint } = found;
      const count = countParts(bytes.length);
      const number = part === undefined ? 1 : Number(part);
      if (number > count) return null;
      const contents: ResourceContents = {
        uri: part === undefined && count > 1 ? `${uri}/1` : uri,
        mimeType,
        ...toPart(bytes, mimeType, number),
      };
      return { type: "done", contents: [contents], taint };
    },
  };
}

/** An artifact as lists and links show it; a large one says how it is read. */
export function toResource({ uri, name, mimeType, bytes }: Artifact): Resource {
  const count = countParts(bytes);
  const parts = count === 1 ? {} : { description: `Read it in ${count} parts: ${uri}/1 to ${uri}/${count}.` };
  return { uri, name, mimeType, bytes, ...parts };
}

const countParts = (bytes: number): number => Math.max(1, Math.ceil(bytes / partBytes));

function toPart(
  bytes: Uint8Array,
  mimeType: string,
  number: number,
): { readonly text: string } | { readonly blob: string } {
  const isText = /^text\/|[/+](?:json|xml|yaml|javascript)$/.test(mimeType) && isUtf8(bytes);
  const [start, end] = [(number - 1) * partBytes, number * partBytes];
  if (!isText) return { blob: toBuffer(bytes.subarray(start, end)).toString("base64") };
  return { text: toBuffer(bytes.subarray(toBoundary(bytes, start), toBoundary(bytes, end))).toString() };
}

const toBuffer = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength);

/** The place, or the beginning of the character that it is in (UTF-8). */
function toBoundary(bytes: Uint8Array, place: number): number {
  let start = place;
  while (((bytes[start] ?? 0) & 0xc0) === 0x80) start -= 1;
  return start;
}

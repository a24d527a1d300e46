import { isUtf8 } from "node:buffer";
import type { Block } from "../../core/event.ts";
import { headBytes, toMediaType } from "../../files/media-type.ts";
import { mayRead } from "../../permissions/demand.ts";
import type { Grant } from "../../permissions/grant.ts";
import type { ExecResult, SandboxFile } from "../../sandbox/engine.ts";
import { type Artifacts, artifactPrefix } from "../artifacts.ts";
import type { CallContext } from "../tool.ts";
import type { Output } from "./schema.ts";

/** Of a run's files so much stands in the answer; the rest is behind their links. */
const maxInlineBytes = 16 * 1024;
/** The same for whoever may not follow the links, so that the answer as a whole stays one that clients take. */
const maxUnlinkedBytes = 512 * 1024;
/** Of its pictures this much is shown beside. */
const maxPictureBytes = 1024 * 1024;

/** A file that came out, kept. */
export interface KeptFile extends SandboxFile {
  readonly mimeType: string;
  readonly uri: string;
}

/** Keeps the files that came out as artifacts of the call, with its taint. */
export async function keep(
  files: readonly SandboxFile[],
  artifacts: Artifacts,
  { scope, principal, grant, taint, callId }: CallContext,
): Promise<readonly KeptFile[]> {
  const kept: KeptFile[] = [];
  for (const { path, bytes } of files) {
    const mimeType = toType(path, bytes);
    const { uri } = await artifacts.save({ scope, principal, grant, taint, callId, name: path, mimeType, bytes });
    kept.push({ path, bytes, mimeType, uri });
  }
  return kept;
}

/** What a name says of a text that its bytes don't. */
const textTypes: Readonly<Record<string, string>> = {
  csv: "text/csv",
  tsv: "text/tab-separated-values",
  md: "text/markdown",
  json: "application/json",
};

/** The type by the first bytes; for plain text by the end of the name too, which lies at most about which text it is. */
function toType(path: string, bytes: Uint8Array): string {
  const type = toMediaType(bytes.subarray(0, headBytes));
  const [, ending = ""] = /\.(\w+)$/.exec(path.toLowerCase()) ?? [];
  return (type === "text/plain" && Object.hasOwn(textTypes, ending) ? textTypes[ending] : undefined) ?? type;
}

/** Whoever may not read the resources gets what is in them here, as far as an answer has room; to all others pictures are shown beside. */
export function toOutput(ran: ExecResult, files: readonly KeptFile[], grant: Grant): Output {
  const { outputCut, artifactsCut: _, ...result } = ran;
  const linked = new Set(files.filter(({ uri }) => mayRead(grant, uri)));
  const unlinked = files.filter((file) => !linked.has(file));
  const pictures = new Set(shownPictures(files));
  const others = [...linked].filter((file) => !pictures.has(file));
  const shown = new Set([...thatFit(others, maxInlineBytes), ...thatFit(unlinked, maxUnlinkedBytes)]);
  const lost = unlinked.filter((file) => !shown.has(file)).length;
  const notes = [
    ...(result.resultNote === undefined ? [] : [result.resultNote]),
    ...(lost === 0
      ? []
      : [
          `there is no room here for ${lost} of the files; reading them by their uri takes a right to ${artifactPrefix}`,
        ]),
  ];
  return {
    ...result,
    ...(outputCut ? { outputCut } : {}),
    ...(notes.length === 0 ? {} : { resultNote: notes.join("; ") }),
    artifacts: files.map((file) => ({
      path: file.path,
      bytes: file.bytes.length,
      mimeType: file.mimeType,
      uri: file.uri,
      ...(shown.has(file) ? toInline(file.bytes) : {}),
    })),
  };
}

const toInline = (bytes: Uint8Array): { readonly text: string } | { readonly base64: string } =>
  isUtf8(bytes) ? { text: Buffer.from(bytes).toString() } : { base64: toBase64(bytes) };

const toBase64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

/** Of the files those that have room in an answer, in their order. */
function thatFit(files: readonly KeptFile[], maxBytes: number): readonly KeptFile[] {
  let room = maxBytes;
  return files.filter(({ bytes }) => {
    if (bytes.length > room) return false;
    room -= bytes.length;
    return true;
  });
}

/** The files beside the value: pictures for models that see, and links to what the grant may read. */
export function toContent(files: readonly KeptFile[], grant: Grant): readonly Block[] {
  return [...shownPictures(files).map(toPicture), ...files.filter(({ uri }) => mayRead(grant, uri)).map(toLink)];
}

const toPicture = ({ mimeType, bytes }: KeptFile): Block => ({ type: "image", mimeType, data: toBase64(bytes) });

function shownPictures(files: readonly KeptFile[]): readonly KeptFile[] {
  const pictures = files.filter(({ mimeType }) => /^image\/(?:png|jpeg|gif|webp)$/.test(mimeType));
  return thatFit(pictures, maxPictureBytes);
}

const toLink = ({ uri, path, mimeType, bytes }: KeptFile): Block => ({
  type: "resource_link",
  uri,
  name: path,
  mimeType,
  bytes: bytes.length,
});

import { isUtf8 } from "node:buffer";
import type { Block } from "../../core/event.ts";
import { headBytes, toMediaType } from "../../files/media-type.ts";
import { mayRead } from "../../permissions/demand.ts";
import type { Grant } from "../../permissions/grant.ts";
import type { ExecResult, SandboxFile } from "../../sandbox/engine.ts";
import type { Artifacts } from "../artifacts.ts";
import type { CallContext } from "../tool.ts";
import type { Output } from "./schema.ts";

/** Of a run's files this much text stands in the answer; the rest is behind their links. */
const maxInlineBytes = 16 * 1024;
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
    const mimeType = toMediaType(bytes.subarray(0, headBytes));
    const { uri } = await artifacts.save({ scope, principal, grant, taint, callId, name: path, mimeType, bytes });
    kept.push({ path, bytes, mimeType, uri });
  }
  return kept;
}

/** Whoever may not read the resources gets all that is in them here. */
export function toOutput({ outputCut, ...result }: ExecResult, files: readonly KeptFile[], grant: Grant): Output {
  const linked = files.filter(({ uri }) => mayRead(grant, uri));
  const left = new Set(linked).difference(new Set(thatFit(linked, maxInlineBytes)));
  return {
    ...result,
    ...(outputCut ? { outputCut } : {}),
    artifacts: files.map((file) => ({
      path: file.path,
      bytes: file.bytes.length,
      mimeType: file.mimeType,
      uri: file.uri,
      ...(left.has(file) ? {} : toInline(file.bytes)),
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
  return [...toPictures(files), ...files.filter(({ uri }) => mayRead(grant, uri)).map(toLink)];
}

function toPictures(files: readonly KeptFile[]): readonly Block[] {
  const pictures = files.filter(({ mimeType }) => /^image\/(?:png|jpeg|gif|webp)$/.test(mimeType));
  return thatFit(pictures, maxPictureBytes).map(({ mimeType, bytes }) => ({
    type: "image",
    mimeType,
    data: toBase64(bytes),
  }));
}

const toLink = ({ uri, path, mimeType, bytes }: KeptFile): Block => ({
  type: "resource_link",
  uri,
  name: path,
  mimeType,
  bytes: bytes.length,
});

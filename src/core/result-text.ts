import type { Block, ToolOutcome } from "./event.ts";

/** A tool's outcome as the text that a model reads: its value as JSON, then its content. Pictures are numbered from 1. */
export function toResultText({ value, content = [] }: ToolOutcome): string {
  let pictures = 0;
  const blocks = content.map((block) => {
    switch (block.type) {
      case "text":
        return block.text;
      case "image":
        pictures += 1;
        return `(image ${pictures}, ${block.mimeType})`;
      case "audio":
        return `(sound, ${block.mimeType})`;
      case "resource":
        return block.text ?? `(a resource: ${block.uri}, ${block.mimeType ?? "bytes"})`;
      default:
        return `(a resource: ${block.uri}, ${block.name})`;
    }
  });
  const text = [...(value === undefined ? [] : [JSON.stringify(value)]), ...blocks].join("\n");
  // Providers refuse a request with half a surrogate pair in it, and with it all that would come after.
  return text === "" ? "(no output)" : text.toWellFormed();
}

/** The tool by which a model reads on in a result that was cut. It is the host's own: it shows nothing but the run's own log. */
export const readResultName = "read_result";

interface Cutting {
  readonly callId: string;
  readonly maxBytes: number;
  /** What a picture counts for. */
  readonly pictureBytes: number;
}

/**
 * The outcome as a model reads it where it is too large: the beginning and the end of its text, with a sentence that says how to read
 * the rest, and as many of its pictures as have room, one at least. null: it is not too large. Pure, so that what was cut stays cut
 * the same way.
 */
export function cutResult(outcome: ToolOutcome, { callId, maxBytes, pictureBytes }: Cutting): ToolOutcome | null {
  if (maxBytes === Infinity) return null;
  const { isError, code, content = [] } = outcome;
  const pictures = content.filter((block) => block.type === "image");
  const text = toResultText(outcome);
  const bytes = Buffer.from(text);
  if (bytes.length + pictures.length * pictureBytes <= maxBytes) return null;

  const forText = Math.min(bytes.length, pictures.length === 0 ? maxBytes : Math.floor(maxBytes / 2));
  const room = Math.max(1, Math.floor((maxBytes - forText) / pictureBytes));
  const shown: Block[] = pictures.slice(0, room);
  const isTextCut = bytes.length > forText;
  // Nothing to cut but one picture, which is the least there is.
  if (!isTextCut && shown.length === pictures.length) return null;
  const call = (rest: string): string => `${readResultName} {"call":"${callId}",${rest}}`;
  const more =
    shown.length === pictures.length
      ? ""
      : `\n(${shown.length} of ${pictures.length} images are shown. ${call(`"image":${shown.length + 1}`)} shows the next.)`;
  return {
    content: [{ type: "text", text: `${isTextCut ? toCutText(text, bytes, forText, call) : text}${more}` }, ...shown],
    isError,
    ...(code === undefined ? {} : { code }),
  };
}

function toCutText(text: string, bytes: Buffer, maxBytes: number, call: (rest: string) => string): string {
  const head = bytes.subarray(0, toBoundary(bytes, Math.floor((maxBytes * 2) / 3))).toString();
  const tail = bytes.subarray(toBoundary(bytes, bytes.length - Math.floor(maxBytes / 3))).toString();
  const to = text.length - tail.length;
  const left = `characters ${head.length} to ${to} of ${text.length} are left out here`;
  return `${head}\n[… ${left}. ${call(`"from":${head.length}`)} reads on …]\n${tail}`;
}

/** The place, or the beginning of the character that it is in (UTF-8). */
function toBoundary(bytes: Uint8Array, place: number): number {
  let start = place;
  while (((bytes[start] ?? 0) & 0xc0) === 0x80) start -= 1;
  return start;
}

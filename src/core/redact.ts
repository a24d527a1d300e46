import type { Json } from "./json.ts";
import { parseJson } from "./json.ts";

/** The edge of a word, whatever was before it; behind an escape of JSON too, whose letters are none of the word. */
const wordEdge = String.raw`(?<=^|[^\w-]|\\[nrtbf]|\\u[0-9A-Fa-f]{4})`;

/**
 * A compact JWS, which is what Capstan's tokens and most others look like: a JSON header in base64url and two more parts. Like the keys
 * below it begins at the edge of a word only and ends where its letters end, so that the search takes linear time on any text.
 */
const token = new RegExp(String.raw`${wordEdge}eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}`, "g");

/** Keys that can be told by how they begin: of models' providers, clouds, forges and payment. Others look like any other text. */
const keys = [
  String.raw`sk-(?:(?:proj|svcacct|admin|ant|or|lf)-[\w-]{16,}|[A-Za-z0-9]{32,})`,
  String.raw`(?:gsk_|r8_|hf_|npm_|xai-|pplx-)[A-Za-z0-9]{30,}`,
  String.raw`(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Z])`,
  String.raw`AIza[\w-]{35}`,
  String.raw`ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}`,
  String.raw`gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}`,
  String.raw`xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}`,
  String.raw`[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9]{16,}`,
  String.raw`SG\.[\w-]{16,}\.[\w-]{16,}|dop_v1_[a-f0-9]{64}|pypi-[\w-]{50,}`,
];
const key = new RegExp(`${wordEdge}(?:${keys.join("|")})`, "g");

/** All that tokens, keys and the escapes before them are made of; between two other characters lies none or a whole one. */
const inside = /[\w.\\-]/;

const pemHeader = /-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----/g;
const pemEnd = /-----END [^-]{0,80}-----/y;
/** The body of a private key whose end is missing, and the line breaks in it, as such or as JSON writes them. */
const pemBody = /[A-Za-z0-9+/=\r\n\\]*/y;

/** The text without what looks like a token, a key or a private key. A credential that a model or a tool prints is data, and data needs none. */
export function redact(text: string): string {
  const short = (text.includes("eyJ") ? text.replace(token, "[redacted token]") : text).replace(key, "[redacted key]");
  return short.includes("-----BEGIN ") ? redactPem(short) : short;
}

function redactPem(text: string): string {
  let kept = "";
  let from = 0;
  for (const { index, 0: header } of text.matchAll(pemHeader)) {
    if (index < from) continue;
    kept += `${text.slice(from, index)}[redacted private key]`;
    from = endOfPem(text, index + header.length);
  }
  return kept + text.slice(from);
}

/** Where a private key ends whose header ends at `start`. Without its end, a header takes its body along. */
function endOfPem(text: string, start: number): number {
  pemEnd.lastIndex = Math.max(0, text.indexOf("-----", start));
  const end = pemEnd.exec(text);
  if (end !== null) return end.index + end[0].length;
  pemBody.lastIndex = start;
  return start + (pemBody.exec(text)?.[0].length ?? 0);
}

/** A copy with `redact` for every string in a JSON value; names of fields stay, but for `__proto__`, which goes with what it holds. */
export function redactJson(value: Json): Json {
  if (typeof value === "string") return redact(value);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(redactJson);
  const kept = Object.entries(value).filter(([name]) => name !== "__proto__");
  return Object.fromEntries(kept.map(([name, item]) => [name, redactJson(item)]));
}

/** Whether `redactJson` would take something out. */
export function hasSecret(value: Json): boolean {
  if (typeof value === "string") return redact(value) !== value;
  return typeof value === "object" && value !== null && Object.values(value).some(hasSecret);
}

/** `redact` for a text that should be JSON: in its strings, so that no escape hides the edge of a word. Clean text stays as it was written. */
export function redactJsonText(text: string): string {
  const value = parseJson(text);
  if (value === undefined) return redact(text);
  // What the text says and its value does not: names of fields, and of two fields of one name the first.
  return redact(hasSecret(value) ? JSON.stringify(redactJson(value)) : text);
}

/** `redact` for a text that comes in pieces. */
interface Redactor {
  /** What can be shown once this piece has come; the end of a text that may be the beginning of a secret waits. */
  push(piece: string): string;
  /** What is left. */
  end(): string;
}

/** What the pieces give, put together, shows no more than `redact` leaves of the whole. The work is linear in the text. */
export function openRedactor(): Redactor {
  /** The end of the text, all of it from `inside`. */
  let word = "";
  /** What has come since the header of some PEM block; it waits for the block's end. */
  let block: string[] = [];
  /** The end of `block`, as much as the end of a block may take. */
  let tail = "";

  const show = (text: string): string => {
    let shown = "";
    for (let rest = text; ;) {
      const header = block.length === 0 ? rest.indexOf("-----BEGIN ") : 0;
      if (header < 0) return shown + redact(rest);
      const near = tail + rest.slice(header);
      block.push(rest.slice(header));
      tail = near.slice(-100);
      shown += redact(rest.slice(0, header));
      const end = /-----END [^-]{0,80}-----/.exec(near);
      if (end === null) return shown;
      const all = block.join("");
      const left = near.length - end.index - end[0].length;
      block = [];
      tail = "";
      shown += redact(all.slice(0, all.length - left));
      rest = all.slice(all.length - left);
    }
  };
  return {
    push(piece) {
      let edge = piece.length;
      while (edge > 0 && inside.test(piece.charAt(edge - 1))) edge -= 1;
      if (edge === 0) {
        word += piece;
        return "";
      }
      const text = word + piece.slice(0, edge);
      word = piece.slice(edge);
      return show(text);
    },
    end() {
      const shown = show(word) + redact(block.join(""));
      word = "";
      block = [];
      tail = "";
      return shown;
    },
  };
}

/** No escape and no entity that is read is longer, its backslash or ampersand not counted. */
const longest = 9;
const names: ReadonlySet<string> = new Set(["quot;", "apos;", "lt;", "gt;", "nbsp;"]);

/**
 * The letters and digits of a text, without case and width. Escapes of JSON and entities of HTML are resolved, however deep they are
 * nested: a text, the JSON that holds it, and the JSON that holds that, all give the same. The work is linear in the text.
 */
export function toPlain(text: string): string {
  const read = /[\\&]/.test(text) ? unescape(text) : text;
  return read
    .normalize("NFKC")
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]+/gu, "");
}

/** Read from the end, so that what an escape stands for may begin another one with what stands behind it. */
function unescape(text: string): string {
  /** What is behind the place, the nearest last. */
  const behind: string[] = [];
  for (let place = text.length - 1; place >= 0; place -= 1) {
    let char = text.charAt(place);
    for (;;) {
      const found = char === "\\" ? readEscape(behind) : char === "&" ? readEntity(behind) : null;
      if (found === null) break;
      behind.length -= found.chars;
      char = found.stands;
    }
    behind.push(char);
  }
  return behind.reverse().join("");
}

interface Read {
  /** How many characters behind the place belong to it. */
  readonly chars: number;
  readonly stands: string;
}

function readEscape(behind: readonly string[]): Read | null {
  const next = nextOf(behind);
  const hex = /^(?:u[0-9a-f]{4}|x[0-9a-f]{2})/i.exec(next)?.[0];
  if (hex !== undefined) return { chars: hex.length, stands: String.fromCharCode(Number.parseInt(hex.slice(1), 16)) };
  return /^[nrtbf]/i.test(next) ? { chars: 1, stands: " " } : null;
}

function readEntity(behind: readonly string[]): Read | null {
  const next = nextOf(behind);
  const [all, name = "", hex, digits] = /^(?:([a-z]{2,4};)|#x([0-9a-f]{1,6});|#(\d{1,7});)/i.exec(next) ?? [];
  if (all === undefined) return null;
  if (name.toLowerCase() === "amp;") return { chars: all.length, stands: "&" };
  if (names.has(name.toLowerCase())) return { chars: all.length, stands: " " };
  const codePoint = hex === undefined ? Number.parseInt(digits ?? "", 10) : Number.parseInt(hex, 16);
  if (Number.isNaN(codePoint)) return null;
  return { chars: all.length, stands: codePoint <= 0x10ffff ? String.fromCodePoint(codePoint) : " " };
}

function nextOf(behind: readonly string[]): string {
  return behind.slice(-longest).reverse().join("");
}

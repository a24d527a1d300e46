/** What a terminal obeys instead of showing it, but for line ends and tabs: control characters, and marks that turn text around. */
const obeyed = /(?![\n\t])[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** Text for a terminal: what models, files and servers wrote into it can move no cursor and forge no line. */
export function toTerminal(text: string): string {
  return text.replace(obeyed, (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`);
}

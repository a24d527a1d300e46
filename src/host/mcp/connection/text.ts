/** How many lines about one server are logged in a window; what is beyond is counted. */
const maxLines = 100;
const windowMs = 10_000;

/** A text of a server, fit for a line that people and models read: no control characters, spaces collapsed, at most `max` characters. */
export function showText(text: string, max = 300): string {
  // Four times as much is looked at, so that a huge text costs no more than a short one.
  const plain = text
    .slice(0, max * 4)
    .replace(/[\p{C}\p{Z}]+/gu, " ")
    .trim();
  return plain.length > max || text.length > max * 4 ? `${plain.slice(0, max)}…` : plain;
}

/** `log` for what a server causes: at most 100 lines in 10 s, each begun by its name. */
export function openServerLog(name: string, log: (line: string) => void): (line: string) => void {
  let since = 0;
  let count = 0;
  return (line) => {
    const now = performance.now();
    if (now - since > windowMs) {
      if (count > maxLines) log(`mcp ${name}: ${count - maxLines} more lines left out`);
      since = now;
      count = 0;
    }
    count += 1;
    if (count <= maxLines) log(`mcp ${name}: ${line}`);
  };
}

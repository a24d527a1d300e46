import { appendFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { CapstanError } from "../core/error.ts";
import type { Store } from "../store/store.ts";
import type { SignedHead as Head } from "./audit.ts";
import { SignedHead, signHead } from "./audit.ts";
import type { Keys } from "./keys.ts";

const fileName = "audit-heads.jsonl";
const everyRows = 1000;
const everyMs = 60_000;

/** Signs the head of this process's chain now and then. Closing signs what is not signed yet. */
export interface AuditHeads extends AsyncDisposable {
  /** Signs when 1,000 rows have come since the last time, or any rows a minute after it. */
  sync(): Promise<void>;
}

/**
 * Opens the export of signed heads: JSON lines in `audit-heads.jsonl` of the home (0600), to be copied to where nobody who can change
 * the store can change them. Beside `sync`, a timer looks each minute, so that a process that has gone quiet signs its last rows too.
 */
export function openAuditHeads(parts: { home: string; keys: Keys; store: Store; clock: Clock }): AuditHeads {
  const { home, keys, store, clock } = parts;
  let signedSeq = 0;
  let signedAt = clock();
  let writing: Promise<void> = Promise.resolve();

  async function signAfter(rows: number): Promise<void> {
    const head = store.auditHead();
    const at = clock();
    const fresh = (head?.seq ?? 0) - signedSeq;
    if (head === null || fresh === 0 || (fresh < rows && at - signedAt < everyMs)) return;
    await appendFile(join(home, fileName), `${JSON.stringify(signHead(keys, head, at))}\n`, { mode: 0o600 });
    signedSeq = head.seq;
    signedAt = at;
  }

  /** One after another, so that no head is signed twice. */
  function sign(rows: number): Promise<void> {
    const signed = writing.then(() => signAfter(rows));
    // Whoever asked hears of a failure; the next one tries again.
    writing = signed.catch(() => {});
    return signed;
  }

  const timer = setInterval(() => void sign(everyRows).catch(() => {}), everyMs).unref();
  return {
    sync: () => sign(everyRows),
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await sign(1);
    },
  };
}

/**
 * The signed heads of a home; none when there is no file. A last line without its end is what a crash left and is passed over. Throws
 * `audit.broken` for any other line that is no head.
 */
export async function readAuditHeads(home: string): Promise<readonly Head[]> {
  let content: string;
  try {
    content = await readFile(join(home, fileName), "utf8");
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return [];
    throw thrown;
  }
  return content
    .split("\n")
    .slice(0, -1)
    .map((line, index) => {
      const head = SignedHead.safeParse(parseLine(line));
      if (head.success) return head.data;
      throw new CapstanError(
        "audit.broken",
        `Line ${index + 1} of ${fileName} is no signed head. Restore the file from its copy; if a full disk broke the line, remove it.`,
      );
    });
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

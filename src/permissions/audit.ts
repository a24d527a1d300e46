import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import { canonicalJson } from "../core/json.ts";
import { chainRow } from "../store/audit-chain.ts";
import type { AuditHead, AuditRow } from "../store/store.ts";
import type { Keys } from "./keys.ts";
import type { AuditVerdict } from "./permissions.ts";

/** The head of a writer's chain as it was at `at` (ms), signed by the home: a chain that is shorter or other now was changed. */
export const SignedHead = z.strictObject({
  v: z.literal(1),
  writer: z.string(),
  seq: z.int().min(1),
  hash: z.string(),
  at: z.int(),
  kid: z.string(),
  signature: z.string(),
});
export type SignedHead = Readonly<z.infer<typeof SignedHead>>;

/** Signs the head of a chain. */
export function signHead(keys: Keys, { writer, seq, hash }: AuditHead, at: number): SignedHead {
  const head = { v: 1, writer, seq, hash, at, kid: keys.kid } as const;
  return { ...head, signature: keys.sign(toSigned(head)).toString("base64url") };
}

/**
 * Walks every chain and holds it against the signed heads. `problem` names the first bad row (changed, removed or out of place) or
 * head. What stood behind a chain's last signed head and was cut off without a trace can't be seen: heads are signed every 1,000
 * rows, every minute and at the end, so that this is little.
 */
export async function verifyAudit(
  rows: AsyncIterable<AuditRow>,
  heads: readonly SignedHead[],
  keys: Keys,
): Promise<AuditVerdict> {
  let seen = 0;
  const verdict = (problem?: string): AuditVerdict => ({
    ok: problem === undefined,
    rows: seen,
    heads: heads.length,
    ...(problem === undefined ? {} : { problem }),
  });
  const forged = heads.findIndex((head) => !isSigned(keys, head));
  if (forged >= 0) return verdict(`signed head ${forged + 1} has a wrong signature.`);

  const signed = Map.groupBy(heads, toPlace);
  const last = new Map<string, AuditHead>();
  try {
    for await (const row of rows) {
      seen++;
      const problem = findProblem(row, last.get(row.writer) ?? null, signed.get(toPlace(row)) ?? []);
      if (problem !== null) return verdict(problem);
      last.set(row.writer, row);
    }
  } catch (thrown) {
    if (thrown instanceof CapstanError && thrown.code === "audit.broken") return verdict(thrown.message);
    throw thrown;
  }
  const missing = heads.find((head) => head.seq > (last.get(head.writer)?.seq ?? 0));
  if (missing === undefined) return verdict();
  const from = (last.get(missing.writer)?.seq ?? 0) + 1;
  return verdict(`row ${from} of ${missing.writer} is missing: the chain was signed up to row ${missing.seq}.`);
}

function findProblem(row: AuditRow, previous: AuditHead | null, heads: readonly SignedHead[]): string | null {
  const expected = chainRow(previous, row.writer, row.entry);
  if (row.seq !== expected.seq) return `row ${expected.seq} of ${row.writer} is missing or out of its place.`;
  if (row.previousHash !== expected.previousHash || row.hash !== expected.hash) {
    return `row ${row.seq} of ${row.writer} was changed or moved: its hash does not follow from it and the row before.`;
  }
  if (heads.every((head) => head.hash === row.hash)) return null;
  return `row ${row.seq} of ${row.writer} is not the one that was signed: it, or rows before it, were written anew.`;
}

function isSigned(keys: Keys, { signature, ...head }: SignedHead): boolean {
  return keys.verify(toSigned(head), Buffer.from(signature, "base64url"));
}

const toSigned = (head: Omit<SignedHead, "signature">): Buffer => Buffer.from(`audit head\n${canonicalJson(head)}`);

const toPlace = ({ writer, seq }: { readonly writer: string; readonly seq: number }): string => `${seq} ${writer}`;

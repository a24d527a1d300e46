import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import { sha256 } from "../core/json.ts";
import type { Scope } from "../core/scope.ts";
import type { Permissions } from "../permissions/permissions.ts";
import { hashEvent, noEventHash, readPlaces } from "../store/event-chain.ts";
import type { Batch, EventRow, Store } from "../store/store.ts";
import type { Link } from "./lineage.ts";
import { lineageLinks } from "./lineage.ts";
import type { Header } from "./run-file.ts";

/** What a walk over the chain of a run found, those of the runs that it goes on from before it. */
export interface RunVerdict {
  readonly runId: string;
  readonly ok: boolean;
  /** How many events were found whole. */
  readonly events: number;
  /** The hash of the last of them. */
  readonly head: string;
  /** Whether this home has sealed that hash as the end of the run. Only runs that are over are sealed. */
  readonly sealed: boolean;
  /** The first bad event; missing when `ok`. */
  readonly problem?: string;
}

interface Parts {
  readonly store: Store;
  readonly permissions: Permissions;
  readonly scope: Scope;
}

const kind = "run-seal";
const Sealed = z.strictObject({ sealed: z.string() });
const Head = z.strictObject({ seq: z.int(), hash: z.string() });

/** Seals the end of a run by the key of the home, together with its last event, so that its log can't be written anew without it. */
export function toSeal(permissions: Permissions, scope: Scope, runId: string): NonNullable<Batch["seal"]> {
  return ({ seq, hash }) => {
    const value = { sealed: permissions.seal({ seq, hash }, toBind(scope, runId)) };
    return { kind, key: runId, value, ifVersion: 0 };
  };
}

/** Walks the chain of a run. Throws `store.*` where the store can't be read, and nothing for what is wrong in it. */
export async function verifyRun(runId: string, parts: Parts): Promise<RunVerdict> {
  const { store, scope } = parts;
  const found = { events: 0, head: noEventHash };
  let problem: string | null = null;
  let sealed = false;
  try {
    for (const link of await lineageLinks(store, scope, runId)) {
      let seq = 0;
      for await (const row of store.eventRows(scope, link.runId)) {
        if (row.seq > link.toSeq) break;
        problem = await findProblem(row, seq + 1, link, found.head, parts);
        if (problem !== null) break;
        seq = row.seq;
        found.head = row.hash;
        found.events += 1;
      }
      if (problem === null && seq < link.toSeq && link.toSeq !== Infinity) problem = missing(seq + 1, link.runId);
      if (problem !== null) break;
      if (link.runId !== runId) continue;
      const seal = await readSeal(runId, parts);
      sealed = seal !== null && seal.seq === seq && seal.hash === found.head;
      if (seal !== null && !sealed) problem = toSealProblem(runId, seq, seal);
    }
    if (problem === null && found.events === 0) problem = missing(1, runId);
  } catch (thrown) {
    if (!(thrown instanceof CapstanError && ["run.corrupt", "store.corrupt"].includes(thrown.code))) throw thrown;
    problem = thrown.message;
  }
  return { runId, ok: problem === null, ...found, sealed, ...(problem === null ? {} : { problem }) };
}

/** The verdict with what a file says of the same run: it may hold fewer events than the log has now, and no others. */
export async function compareFile(
  verdict: RunVerdict,
  { runId, runs, head }: Pick<Header, "runId" | "runs" | "head">,
  { store, scope }: Parts,
): Promise<RunVerdict> {
  if (runId !== verdict.runId) return { ...verdict, ok: false, problem: `the file holds another run, ${runId}.` };
  const seq = runs.at(-1)?.events ?? 0;
  for await (const row of store.eventRows(scope, runId, seq)) {
    if (row.seq === seq && row.hash === head) return verdict;
    break;
  }
  return {
    ...verdict,
    ok: false,
    problem: `the file holds another log of it: event ${seq} is not the one in the store.`,
  };
}

/** What is wrong with the event that must be number `seq` of a run and follow `head`; null: nothing. */
async function findProblem(
  row: EventRow,
  seq: number,
  { runId }: Link,
  head: string,
  { store, scope }: Parts,
): Promise<string | null> {
  if (row.seq !== seq) return missing(seq, runId);
  if (hashEvent(head, { scope, runId }, row) !== row.hash) {
    return `event ${seq} of ${runId} was changed or moved: its hash does not follow from it and the event before.`;
  }
  for (const textHash of row.large === null ? [] : readPlaces(row.large).values()) {
    const text = await store.blob(textHash);
    if (text === null) return `event ${seq} of ${runId} has lost a large text, ${textHash}.`;
    if (sha256(text) !== textHash) return `a large text of event ${seq} of ${runId} was changed, ${textHash}.`;
  }
  return null;
}

/** What stands for a seal that this home has not made. */
const foreign = { seq: 0, hash: "" };

async function readSeal(
  runId: string,
  { store, permissions, scope }: Parts,
): Promise<{ readonly seq: number; readonly hash: string } | null> {
  const record = await store.record(scope, kind, runId);
  if (record === null) return null;
  try {
    const { sealed } = Sealed.parse(record.value);
    return Head.parse(permissions.open(sealed, toBind(scope, runId)));
  } catch {
    return foreign;
  }
}

function toSealProblem(runId: string, seq: number, seal: { readonly seq: number }): string {
  if (seal === foreign) return `the seal of ${runId} was not made by this home.`;
  if (seal.seq > seq) return `event ${seq + 1} of ${runId} is missing: its end was sealed at event ${seal.seq}.`;
  const what = seal.seq < seq ? "something was added behind its end, or it was written anew" : "it was written anew";
  return `the log of ${runId} is not the one whose end was sealed at event ${seal.seq}: ${what}.`;
}

const missing = (seq: number, runId: string): string => `event ${seq} of ${runId} is missing or out of its place.`;

const toBind = ({ org, project }: Scope, runId: string): string => `run seal ${org}/${project} ${runId}`;

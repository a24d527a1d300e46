import { z } from "zod";
import { counted } from "../core/counted.ts";
import { CapstanError } from "../core/error.ts";
import { EventBody } from "../core/event.ts";
import type { JsonObject } from "../core/json.ts";
import { isJsonObject, sha256 } from "../core/json.ts";
import type { Run } from "../core/run.ts";
import { applyEvent } from "../core/run.ts";
import { Scope } from "../core/scope.ts";
import { hashEvent, noEventHash, readPlaces, unpackBody } from "../store/event-chain.ts";
import type { EventRow } from "../store/store.ts";

/** The longest line of a file, in bytes: a large text is one. */
export const maxLineBytes = 16 * 1024 * 1024;
/** The largest file, in bytes. What is read is held in memory. */
const maxFileBytes = 128 * 1024 * 1024;
const maxRuns = 1_000;
/** So much work is the reading of a file at most, by `toWork`: some seconds, and more than that of any run. */
const maxWork = 10_000_000;
/** A clock may go wrong by so much. */
const aheadMs = 24 * 3_600_000;

/** Ids and hashes as Capstan makes them. Those of a file name nothing here, and are kept from looking like something else. */
const Id = z.string().regex(/^[A-Za-z0-9_]{1,80}$/, "is no id");
const Hash = z.string().regex(/^[0-9a-f]{64}$/, "is no SHA-256");

/** The first line: whose events follow, in which order, how many of each run, and the hash of the last. */
export const Header = z.strictObject({
  type: z.literal("capstan.run"),
  version: z.literal(2),
  runId: Id,
  scope: Scope,
  /** The runs that it goes on from, the oldest first, each with as many events as it is gone on from behind; then the run itself. */
  runs: z
    .array(z.strictObject({ runId: Id, events: z.int().min(1) }))
    .min(1)
    .max(maxRuns),
  texts: z.int().min(0),
  head: Hash,
});
export type Header = Readonly<z.infer<typeof Header>>;

const EventLine = z.strictObject({
  type: z.literal("event"),
  runId: Id,
  seq: z.int().min(1),
  at: z.int().min(0),
  body: z.custom<JsonObject>(isJsonObject, "must be an object"),
  large: z.array(z.tuple([z.int().min(1), Hash])).optional(),
  hash: Hash,
});

/** A large text of one or more events. */
const TextLine = z.strictObject({ type: z.literal("text"), hash: Hash, text: z.string() });

/** One run of a file. */
export interface FileRun {
  readonly runId: string;
  readonly events: readonly { readonly at: number; readonly body: EventBody }[];
}

/** A file that was found whole. Nothing in it is to be trusted all the same: whoever can write a file can chain what they write. */
export interface RunFile {
  readonly header: Header;
  readonly runs: readonly FileRun[];
}

export function toHeaderLine(header: Header): string {
  return JSON.stringify(header);
}

export function toEventLine(runId: string, { seq, at, body, large, hash }: EventRow): string {
  const places = large === null ? {} : { large: [...readPlaces(large)] };
  return JSON.stringify({ type: "event", runId, seq, at, body: JSON.parse(body), ...places, hash });
}

export function toTextLine(hash: string, text: Uint8Array): string {
  return JSON.stringify({ type: "text", hash, text: Buffer.from(text).toString() });
}

/**
 * Reads a file of a run, line by line, `null` for one that is too long. Throws `run.bad_file`, which names the line, for one that was
 * changed, cut, put in another order or is too large, and for events that make no run.
 */
export async function parseRunFile(lines: AsyncIterable<string | null>, now: number): Promise<RunFile> {
  const reader = openReader(now);
  let number = 0;
  let size = 0;
  for await (const line of lines) {
    number += 1;
    size += line?.length ?? maxLineBytes;
    if (line === null) throw badLine(number, `it is longer than ${maxLineBytes} bytes`);
    if (size > maxFileBytes) throw badLine(number, `the file is larger than ${maxFileBytes} bytes`);
    shallow(number, () => reader.add(number, line));
  }
  return reader.end(number);
}

interface Read {
  readonly number: number;
  readonly runId: string;
  readonly row: EventRow;
}

function openReader(now: number) {
  let header: Header | null = null;
  const rows: Read[] = [];
  const texts = new Map<string, Uint8Array>();
  /** The place of the last event that was read. */
  let [place, last] = [0, 0];
  let head = noEventHash;

  /** The event that must come next; null behind the last. */
  function next() {
    const { runs = [] } = header ?? {};
    const [run, after] = [runs[place], runs[place + 1]];
    if (run !== undefined && last < run.events) return { runId: run.runId, seq: last + 1, place };
    return after === undefined ? null : { runId: after.runId, seq: 1, place: place + 1 };
  }

  function addEvent(number: number, line: z.infer<typeof EventLine>, { scope }: Header): void {
    const { runId, seq, at, body, large, hash } = line;
    const expected = next();
    if (expected?.runId !== runId || expected.seq !== seq) {
      const what = expected === null ? "no more events" : `event ${expected.seq} of ${expected.runId}`;
      throw badLine(number, `expected ${what}, got event ${seq} of ${runId}`);
    }
    [place, last] = [expected.place, seq];
    if (at > now + aheadMs) throw badLine(number, "its time has not come yet");
    const row = {
      seq,
      at,
      body: JSON.stringify(body),
      large: large === undefined ? null : JSON.stringify(large),
      hash,
    };
    if (hashEvent(head, { scope, runId }, row) !== hash) {
      throw badLine(number, "its hash does not follow from it and the line before, so one of them was changed");
    }
    head = hash;
    rows.push({ number, runId, row });
  }

  return {
    add(number: number, text: string): void {
      const line = toLine(number, text);
      if (header === null) {
        header = fitted(number, Header, line);
        if (header.runs.at(-1)?.runId !== header.runId)
          throw badLine(number, `the last of its runs is not ${header.runId}`);
      } else if (isJsonObject(line) && line["type"] === "event") {
        addEvent(number, fitted(number, EventLine, line), header);
      } else {
        const { hash, text: content } = fitted(number, TextLine, line);
        const bytes = Buffer.from(content);
        if (sha256(bytes) !== hash) throw badLine(number, "the text does not have its hash, so it was changed");
        if (next() !== null || texts.has(hash)) throw badLine(number, "a text stands where none belongs");
        texts.set(hash, bytes);
      }
    },
    end(number: number): RunFile {
      if (header === null) throw badLine(1, "the file is empty");
      const missing = next();
      if (missing !== null)
        throw badLine(number + 1, `the file is cut: event ${missing.seq} of ${missing.runId} is missing`);
      if (texts.size !== header.texts) {
        throw badLine(
          number + 1,
          `the file is cut: ${counted(header.texts, "large text")} belong to it, and ${texts.size} are there`,
        );
      }
      if (header.head !== head)
        throw badLine(1, "the hash of the last event is another one, so one of them was changed");
      return { header, runs: toRuns(header, rows, texts) };
    },
  };
}

function toRuns(
  { scope, runs }: Header,
  rows: readonly Read[],
  texts: ReadonlyMap<string, Uint8Array>,
): readonly FileRun[] {
  let run: Run | null = null;
  const found = new Map<string, FileRun["events"][number][]>(runs.map(({ runId }) => [runId, []]));
  if (found.size < runs.length) throw badLine(1, "a run stands in it twice");
  let work = 0;
  for (const { number, runId, row } of rows) {
    const body = shallow(number, () => toBody(number, row, texts));
    work += run === null ? 0 : toWork(run, body);
    if (work > maxWork) throw badLine(number, "the events up to here take longer to read than those of any run");
    try {
      run = applyEvent(run, { v: 1, scope, runId, seq: row.seq, at: row.at, ...body });
    } catch (thrown) {
      if (!(thrown instanceof CapstanError)) throw thrown;
      throw badLine(number, thrown.message);
    }
    found.get(runId)?.push({ at: row.at, body });
  }
  return runs.map(({ runId }) => ({ runId, events: found.get(runId) ?? [] }));
}

/** What one more event costs beyond its own size: the fold copies what is open, and measures each message that a summary leaves. */
function toWork({ calls, queued, taint, askedAgain, messages }: Run, { type }: EventBody): number {
  const copied = calls.size + queued.length + taint.length + Object.keys(askedAgain).length;
  return type === "context.compacted" ? copied + 10 * messages.length : copied;
}

/** What is nested beyond what the stack bears is no event. */
function shallow<T>(number: number, work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    if (thrown instanceof RangeError) throw badLine(number, "it is nested too deeply");
    throw thrown;
  }
}

function toBody(number: number, row: EventRow, texts: ReadonlyMap<string, Uint8Array>): EventBody {
  const value = unpacked(number, row, texts);
  const body = fitted(number, EventBody, value);
  // What a schema drops, such as a key that would reach a prototype, has no business in an event.
  if (JSON.stringify(body).length !== JSON.stringify(value).length) throw badLine(number, "it holds what no event has");
  for (const id of callIdsOf(body)) fitted(number, Id, id);
  return body;
}

function unpacked(number: number, row: EventRow, texts: ReadonlyMap<string, Uint8Array>): unknown {
  try {
    return unpackBody(row, (hash) => texts.get(hash) ?? null);
  } catch (thrown) {
    if (!(thrown instanceof CapstanError)) throw thrown;
    throw badLine(number, "a large text of it is missing in the file");
  }
}

function callIdsOf(body: EventBody): readonly string[] {
  if (body.type === "model.answered") {
    return [body.callId, ...body.parts.flatMap((part) => (part.type === "tool_call" ? [part.callId] : []))];
  }
  return "callId" in body && body.callId !== undefined ? [body.callId] : [];
}

function toLine(number: number, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw badLine(number, "it is no JSON, or cut");
  }
}

function fitted<T>(number: number, schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw badLine(number, `${issue?.path.join(".") || "it"}: ${issue?.message ?? "unknown"}`);
}

function badLine(number: number, why: string): CapstanError {
  return new CapstanError("run.bad_file", `Line ${number} of the file can't be used: ${why}. Export the run again.`, {
    details: { line: number },
  });
}

import { CapstanError } from "../core/error.ts";
import { EventBody } from "../core/event.ts";
import { canonicalJson, isJsonObject } from "../core/json.ts";
import type { JsonObject } from "../core/json.ts";
import type { Run } from "../core/run.ts";
import { applyEvent } from "../core/run.ts";
import type { Scope } from "../core/scope.ts";
import { toArray } from "../core/sequence.ts";
import { hashEvent, noEventHash, readPlaces, unpackBody } from "../store/event-chain.ts";
import type { EventRow, Store } from "../store/store.ts";
import { hashContext } from "./call-model.ts";
import { hashSummary } from "./context/compact.ts";
import { extractSummary } from "./context/extract.ts";
import { toSummaryBytes } from "./context/plan.ts";
import type { Command } from "./decide.ts";
import { decide, toCallId } from "./decide.ts";
import { lineageLinks } from "./lineage.ts";
import { toModelName } from "./providers/all.ts";

/** What came of deciding a run's log anew. */
export interface ReplayVerdict {
  readonly runId: string;
  /** Whether today's code makes the same log, byte for byte. */
  readonly ok: boolean;
  /** How many events came out the same. */
  readonly events: number;
  /** The hash of the last of them. */
  readonly head: string;
  /** The first event that did not: as it stands in the log, and as it came out, or what would be done instead of it. */
  readonly difference?: {
    readonly runId: string;
    readonly seq: number;
    readonly expected: string;
    readonly got: string;
  };
}

/** What was decided for a run since somebody drives it: of that, each may have been begun at any moment from then on. */
interface Decided {
  readonly commands: Map<string, Command>;
  /** The run as it was at each of the last events: an input may come between a decision and the event that it makes. */
  readonly states: Run[];
}

const maxStates = 16;

/**
 * Decides a run anew by today's code, with what people, models and tools said taken from the log in its order, and compares event for
 * event. It performs nothing: it has a store to read from, and neither models nor tools. Throws `store.*`, `run.corrupt`.
 */
export async function replayRun(
  runId: string,
  { store, scope }: { readonly store: Store; readonly scope: Scope },
): Promise<ReplayVerdict> {
  let run: Run | null = null;
  const decided: Decided = { commands: new Map(), states: [] };
  let [events, head] = [0, noEventHash];
  for (const link of await lineageLinks(store, scope, runId)) {
    for await (const row of store.eventRows(scope, link.runId)) {
      if (row.seq > link.toSeq) break;
      const value = await readValue(row, store);
      const { data: body } = EventBody.safeParse(value);
      if (body === undefined) throw unreadable(row);
      const got: object | null = run === null ? value : decideAnew(body, value, run, decided);
      const isSame = got !== null && JSON.stringify(got) === JSON.stringify(value);
      if (!isSame || hashEvent(head, { scope, runId: link.runId }, row) !== row.hash) {
        const difference = {
          ...{ runId: link.runId, seq: row.seq, expected: JSON.stringify(value) },
          got: toWords(got, value, run),
        };
        return { runId, ok: false, events, head, difference };
      }
      run = applyEvent(run, { v: 1, scope, runId: link.runId, seq: row.seq, at: row.at, ...body });
      remember(run, body, decided);
      [events, head] = [events + 1, row.hash];
    }
  }
  return { runId, ok: true, events, head };
}

function toWords(got: object | null, value: JsonObject, run: Run | null): string {
  if (got === null) return `not this event, but: ${JSON.stringify(run === null ? [] : decide(run))}`;
  const text = JSON.stringify(got);
  return text === JSON.stringify(value) ? "the same, so the log was changed: see `capstan runs verify`" : text;
}

async function readValue(row: EventRow, store: Store): Promise<JsonObject> {
  const texts = new Map<string, Uint8Array | null>();
  for (const hash of row.large === null ? [] : readPlaces(row.large).values()) texts.set(hash, await store.blob(hash));
  const value = unpackBody(row, (hash) => texts.get(hash) ?? null);
  if (isJsonObject(value)) return value;
  throw unreadable(row);
}

function unreadable({ seq }: EventRow): CapstanError {
  return new CapstanError("run.corrupt", `Event ${seq} can't be read. See \`capstan runs verify\`.`);
}

/** Whoever takes a run up begins with what is decided then. */
function remember(run: Run, { type }: EventBody, { commands, states }: Decided): void {
  if (type === "run.created" || type === "run.resumed") {
    commands.clear();
    states.length = 0;
  }
  for (const command of decide(run)) commands.set(command.id, command);
  states.push(run);
  if (states.length > maxStates) states.shift();
}

/** The event as today's code would write it at its place, with what came from outside as it is; null where it would not. */
function decideAnew(body: EventBody, value: JsonObject, run: Run, { commands, states }: Decided): object | null {
  const command = "callId" in body && body.callId !== undefined ? commands.get(body.callId) : undefined;
  switch (body.type) {
    case "model.requested":
      return toRequested(body, value, command, states);
    case "model.answered": {
      if (body.callId !== run.modelCallId) return null;
      const calls = body.parts.filter((part) => part.type === "tool_call");
      const ids = calls.map((_, index) => toCallId(run, "tool", run.turns, index));
      return calls.every(({ callId }, index) => callId === ids[index]) ? value : { ...value, callIds: ids };
    }
    case "context.compacted": {
      const made = [...commands.values()].find((one) => one.type === "compact" && one.messages === body.messages);
      if (made === undefined) return null;
      if (body.by === "model") return value;
      const oldest = toArray(run.messages).slice(0, body.messages);
      return { ...value, summary: extractSummary(oldest, toSummaryBytes(run)) };
    }
    case "tool.requested":
      return command?.type === "call_tool" ? { ...value, name: command.name } : null;
    case "tool.finished":
      if (body.edited === true) return value;
      if (command === undefined) return null;
      if (command.type !== "end_call") return value;
      // Of a file, the same values may stand in another order.
      if (canonicalJson([command.outcome, []]) === canonicalJson([body.outcome, body.taint])) return value;
      return { ...value, outcome: command.outcome, taint: [] };
    case "tool.suspended":
      return command?.type === "call_tool" ? value : null;
    case "approval.requested":
      return command?.type === "call_tool" || command?.type === "ask" ? { ...value, name: command.name } : null;
    case "run.suspended": {
      const [now] = decide(run);
      if (body.reason === "interrupted") return value;
      return now?.type === "suspend" ? { ...value, callIds: now.callIds } : null;
    }
    case "run.finished": {
      const [now] = decide(run);
      if (now?.type !== "finish") return null;
      const { status, answer, code, message } = now.end;
      return { ...value, status, answer, code, message };
    }
    default:
      // What came from people, models, tools and clocks, and what rules found in it.
      return value;
  }
}

function toRequested(
  body: EventBody & { readonly type: "model.requested" },
  value: JsonObject,
  command: Command | undefined,
  states: readonly Run[],
): object | null {
  const isSummary = body.purpose === "summary";
  if (command?.type === "compact" && isSummary) {
    const { messages } = command;
    return {
      ...value,
      messages,
      contextHash: sameHash(
        body,
        states.map((run) => hashSummary(run, messages)),
      ),
    };
  }
  if (command?.type !== "call_model" || isSummary) return null;
  return { ...value, turn: command.turn, contextHash: sameHash(body, states.map(hashOf)) };
}

function sameHash({ contextHash }: { readonly contextHash: string }, hashes: readonly string[]): string {
  return hashes.includes(contextHash) ? contextHash : (hashes.at(-1) ?? "");
}

const hashOf = (run: Run): string =>
  hashContext(run, {
    model: toModelName(run.model).name,
    tools: run.tools,
    ...(run.system === undefined ? {} : { system: run.system }),
  });

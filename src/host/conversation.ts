import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import type { Event } from "../core/event.ts";
import type { Run } from "../core/run.ts";
import { foldRun } from "../core/run.ts";
import type { Principal } from "../core/scope.ts";
import type { Grant, Need } from "../permissions/grant.ts";
import { lineageOf, maySee } from "../permissions/lineage.ts";
import { openScreenBefore } from "./guardrails/screen-before.ts";
import type { HostServices, StartRequest } from "./host.ts";
import { demandContinuable, lineage } from "./lineage.ts";
import { newestRuns } from "./list-runs.ts";
import type { PreparedRun } from "./prepare.ts";
import { demandSeen } from "./run-grant.ts";

/** How a run is to be part of a conversation. */
export interface ConversationRequest {
  /**
   * The conversation that the run goes on with, or begins where there is none of that name: 1 to 64 letters, digits, ".", "_" or "-". The id
   * of a run stands for the conversation that it is part of. Missing: the run begins one of its own, which its id names.
   */
  readonly conversation?: string;
  /** Goes on with the conversation of the run that was begun last, whose name must not be given then. */
  readonly continue?: true;
}

const kind = "conversation";
/** The last run of a conversation. */
const Last = z.strictObject({ runId: z.string() });

interface Parts {
  readonly services: HostServices;
  /** The grant that a run was started with. Throws `run.not_found` for the run of somebody else. */
  readonly recordedOf: (runId: string) => Promise<Grant>;
  readonly demandRights: (grant: Grant, needs: readonly Need[]) => Promise<void>;
}

/** A conversation, and the last run of it; missing: there is none yet. `version` is that of the record which says so. */
interface Found {
  readonly name: string;
  readonly lastRunId?: string;
  readonly version: number;
}

/**
 * The prepared run as the next of its conversation: over what the one before it left, taint and summaries included, under its own model,
 * grant and limits. Which run is the last of a conversation is on record with the run's beginning, so of two that go on at once one gets
 * `store.conflict`. Throws `usage.bad_option`, `run.not_found`, `run.not_over`, `permission.no_right`.
 */
export async function inConversation(prepared: PreparedRun, request: StartRequest, parts: Parts): Promise<PreparedRun> {
  const found = await find(request, parts);
  if (found === null) return prepared;
  const { name, lastRunId, version } = found;
  const key = toKey(parts.services.principal, name);
  const records = [{ kind, key, value: { runId: prepared.runId }, ifVersion: version }];
  const [created, ...rest] = prepared.bodies;
  if (lastRunId === undefined) return { ...prepared, bodies: [{ ...created, conversation: name }, ...rest], records };
  const screen = openScreenBefore(created.guardrails);
  const before = await loadLast(lastRunId, request, parts, screen.see);
  const task = before.task.replaceAll(/\s+/g, " ").slice(0, 80).toWellFormed();
  request.onSignal?.({ type: "conversation", conversation: name, runId: lastRunId, task });
  const previous = { runId: lastRunId, seq: before.seq, how: "continue" as const };
  const bodies = [{ ...created, conversation: name, previous }, ...rest, ...screen.hits()] as const;
  return { ...prepared, bodies, before, records };
}

/** Throws what refused the beginning of a run, in clear words where another run has gone on with its conversation. */
export function rethrowConflict(thrown: unknown): never {
  const isOurs = thrown instanceof CapstanError && thrown.code === "store.conflict" && thrown.details["kind"] === kind;
  if (!isOurs) throw thrown;
  const message = "Another run has gone on with this conversation meanwhile. Start again to go on after that one.";
  throw new CapstanError("store.conflict", message, { cause: thrown });
}

/** null: the run is to be part of none. */
async function find(request: StartRequest, parts: Parts): Promise<Found | null> {
  const { conversation } = request;
  if (request.continue === undefined) return conversation === undefined ? null : await findNamed(conversation, parts);
  if (conversation === undefined) return await findNamed(await lastName(request, parts), parts);
  throw new CapstanError("usage.bad_option", "Name a conversation or go on with the last one, not both.");
}

async function findNamed(name: string, parts: Parts): Promise<Found> {
  const { store, scope, principal } = parts.services;
  if (!/^[\w.-]{1,64}$/.test(name)) {
    throw new CapstanError(
      "usage.bad_option",
      `A conversation is named by 1 to 64 letters, digits, ".", "_" or "-", not by ${JSON.stringify(name.slice(0, 80))}.`,
    );
  }
  const record = await store.record(scope, kind, toKey(principal, name));
  if (record !== null) return { name, lastRunId: Last.parse(record.value).runId, version: record.version };
  if (!name.startsWith("run_")) return { name, version: 0 };
  // The id of a run: of the one that begins its conversation, or of one that is part of another.
  await parts.recordedOf(name);
  for await (const event of store.events(scope, name)) {
    if (event.type === "run.created" && event.conversation !== undefined) {
      return await findNamed(event.conversation, parts);
    }
    break;
  }
  return { name, lastRunId: name, version: 0 };
}

/** The conversation of the run that was begun last by the caller; what another run has started, or was imported, does not count. */
async function lastName({ grant }: StartRequest, { services, recordedOf }: Parts): Promise<string> {
  for await (const { runId, first, damage } of newestRuns(services)) {
    const created = first?.type === "run.created" ? first : null;
    if (created?.parent !== undefined || created?.imported !== undefined) continue;
    const recorded = await recordedOf(runId).catch(() => null);
    if (recorded === null || !maySee(grant, lineageOf(recorded))) continue;
    if (created !== null) return created.conversation ?? runId;
    // Another conversation than the last would be none that was asked for.
    const message = `${damage} Or name a conversation with --conversation.`;
    throw new CapstanError("run.corrupt", message, { details: { runId } });
  }
  throw new CapstanError("run.not_found", "There is no conversation to go on with. Begin one with `capstan run`.");
}

async function loadLast(
  runId: string,
  { grant, isStarter }: StartRequest,
  { services, recordedOf, demandRights }: Parts,
  onEvent: (event: Event) => void,
): Promise<Run> {
  if (isStarter === undefined) await demandRights(grant, [{ type: "run", action: "read", runId }]);
  demandSeen(grant, await recordedOf(runId), runId);
  const run = await foldRun(told(lineage(services.store, services.scope, runId, 1), onEvent));
  demandContinuable(run);
  return run;
}

async function* told(events: AsyncIterable<Event>, onEvent: (event: Event) => void): AsyncGenerator<Event> {
  for await (const event of events) {
    onEvent(event);
    yield event;
  }
}

const toKey = ({ org, user }: Principal, name: string): string => `${org}/${user}/${name}`;

import { CapstanError } from "../core/error.ts";
import type { Event } from "../core/event.ts";
import type { Run } from "../core/run.ts";
import { demand } from "../permissions/demand.ts";
import { lineageOf, maySee } from "../permissions/lineage.ts";
import type { Host } from "../host/host.ts";
import type { RunLine } from "../host/outcome.ts";
import { demandSeen, findRunGrant, loadRunGrant } from "../host/run-grant.ts";
import { sleep } from "../host/sleep.ts";
import type { RunSignal } from "../host/world.ts";
import type { ExitCode, GrantFlags, Session } from "./command.ts";
import { parseCount } from "./amounts.ts";
import { rootId } from "./grant.ts";
import { toJsonText } from "./json.ts";
import type { RunOptions } from "./run.ts";
import { driveToEnd } from "./run.ts";
import { toTimeline } from "./timeline.ts";

/** How long another process may take to end a run, before it counts as dead; it hears of its end twice a second. */
const elsewhereMs = 5_000;
const pollMs = 250;

/** `capstan runs ls`: the newest first, for the holder of a token those that it sees. For damaged ones among them it says on stderr what is wrong; the exit code is 1 then. */
export async function listRuns(session: Session, options: { json?: boolean; limit: string }): Promise<ExitCode> {
  const { app, confined, print, tell } = session;
  await demandRead(session);
  const runs = await app.host.list(parseCount(options.limit), confined ? await session.grant() : undefined);
  if (options.json === true) print(toJsonText(runs));
  else for (const line of runs) print(toListLine(line));
  const damages = runs.flatMap(({ damage }) => damage ?? []);
  for (const damage of damages) tell(`run.corrupt: ${damage}`);
  return damages.length === 0 ? 0 : 1;
}

function toListLine({ runId, status, task, startedAt }: RunLine): string {
  const begins = task.replaceAll(/\s+/g, " ").slice(0, 60);
  return `${runId}  ${new Date(startedAt).toISOString()}  ${status.padEnd(9)}  ${begins}`;
}

/** `capstan runs show ID`: the run as a timeline that a person reads, its events, or what its answers came from. */
export async function showRun(
  session: Session,
  runId: string,
  { json, explain }: { readonly json?: boolean; readonly explain?: string | true },
): Promise<ExitCode> {
  const { print } = session;
  const { events } = await readRun(session, runId);
  if (json === true) print(toJsonText(events));
  else if (explain === undefined) for (const line of toTimeline(events)) print(line);
  else for (const line of await toExplanation(runId, events, explain)) print(line);
  return 0;
}

async function toExplanation(runId: string, events: readonly Event[], turn: string | true): Promise<readonly string[]> {
  const wanted = turn === true ? undefined : parseCount(turn);
  const lines = await (await import("./explain.ts")).explain(runId, events, wanted);
  if (lines.length > 0) return lines;
  throw new CapstanError("usage.bad_option", `${runId} has no turn ${turn}. Leave the number out to see all.`);
}

/** `capstan runs resume ID`: goes on where the log ends; approves nothing. */
export async function resumeRun(session: Session, runId: string, options: RunOptions): Promise<ExitCode> {
  const grant = await session.grant(options);
  const { app, signal, confined } = session;
  const recorded = await findRunGrant(app.store, app.scope, runId);
  // The operator goes on with what is the operator's own, under whatever narrower grant, and whoever holds a token with what was begun
  // under it.
  const isStarter = !confined || (recorded !== null && maySee(grant, lineageOf(recorded)));
  const by = isStarter ? { isStarter } : {};
  const begin = (onSignal: (signal: RunSignal) => void) => app.host.resume(runId, { grant, signal, onSignal, ...by });
  // What a run did is shown to whoever may go on with it.
  const before = recorded === null ? [] : (await app.host.load(runId)).events;
  return await driveToEnd(session, { ...options, ...by, before }, begin);
}

/** `capstan runs approve ID CALL`: releases that exact call, once; the run goes on with `runs resume`. */
export async function approveCall(
  session: Session,
  runId: string,
  callId: string,
  options: GrantFlags,
): Promise<ExitCode> {
  const { app, tell } = session;
  const resume = await toResumeLine(session, runId, options);
  await app.host.approve(runId, callId, await session.grant(options));
  tell(`Approved, for ten minutes. Go on with: ${resume}`);
  return 0;
}

/** `capstan runs deny ID CALL`: the model reads that a person said no. */
export async function denyCall(
  session: Session,
  runId: string,
  callId: string,
  options: GrantFlags & { reason?: string },
): Promise<ExitCode> {
  const { host } = session.app;
  const resume = await toResumeLine(session, runId, options);
  await host.deny(runId, callId, options.reason ?? "A person said no.", await session.grant(options));
  session.tell(`Denied. Go on with: ${resume}`);
  return 0;
}

/** `capstan runs cancel ID`: ends it by a person's word, whoever drives it. */
export async function cancelRun(
  session: Session,
  runId: string,
  options: GrantFlags & { reason?: string },
): Promise<ExitCode> {
  const { app, signal, tell } = session;
  const grant = await session.grant(options);
  await app.host.cancel(runId, options.reason ?? "A person cancelled it.", grant);
  if (!(await endsElsewhere(app.host, runId, signal))) await app.host.resume(runId, { grant, signal });
  tell(`Cancelled. What it did: ${session.commandLine(`runs show ${runId}`)}`);
  return 0;
}

/** Whether a run that may be driven by another process ends there. */
async function endsElsewhere(host: Host, runId: string, signal: AbortSignal): Promise<boolean> {
  for (let waitedMs = 0; ; waitedMs += pollMs) {
    const { end, status } = (await host.load(runId)).run;
    if (end !== null) return true;
    if (status === "suspended" || waitedMs >= elsewhereMs) return false;
    await sleep(pollMs, signal);
  }
}

/** The command that goes on once a call is decided, under the named grant or the token that the run was begun under, if it was. */
async function toResumeLine(session: Session, runId: string, flags: GrantFlags): Promise<string> {
  const { app, confined, commandLine } = session;
  const { as: _, ...rest } = flags;
  const outer = await outermost(app.host, runId);
  const begun = lineageOf(await loadRunGrant(app.store, app.scope, outer));
  const names = confined ? [] : await app.permissions.named.list();
  const under = names.find(({ grant }) => begun.includes(grant.id));
  const token = !confined && under === undefined && begun.includes(rootId) ? "typed" : "same";
  return commandLine(`runs resume ${outer}`, { ...rest, ...(under === undefined ? {} : { as: under.name }) }, token);
}

/** The run to go on with: the outermost of those that wait for this one. */
async function outermost(host: Host, runId: string): Promise<string> {
  const { parent } = (await host.load(runId)).run;
  if (parent === undefined) return runId;
  const { calls } = (await host.load(parent.runId)).run;
  const waits = calls.get(parent.callId)?.state.type === "suspended";
  return waits ? await outermost(host, parent.runId) : runId;
}

/** A run for who may read runs. Whoever reads it under a token has seen what the run saw. */
export async function readRun(
  session: Session,
  runId: string,
): Promise<{ readonly run: Run; readonly events: readonly Event[] }> {
  await demandRead(session, runId);
  const { app, confined } = session;
  const read = await app.host.load(runId);
  if (confined) await app.permissions.taints.add(await session.grant(), read.run.taint);
  return read;
}

/** A log holds what its run saw: only who may read runs, and sees this one, may read it. */
export async function demandRead(session: Session, runId?: string): Promise<void> {
  const { store, scope, permissions } = session.app;
  const grant = await session.grant();
  const need = { type: "run", action: "read", ...(runId === undefined ? {} : { runId }) } as const;
  demand(grant, [need], permissions.now());
  if (runId !== undefined) demandSeen(grant, await loadRunGrant(store, scope, runId), runId);
}

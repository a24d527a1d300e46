import { open } from "node:fs/promises";
import { CapstanError } from "../core/error.ts";
import type { Event } from "../core/event.ts";
import type { Run } from "../core/run.ts";
import { demand } from "../permissions/demand.ts";
import type { ExitCode, GrantFlags, Session } from "./command.ts";
import { parseCount } from "./amounts.ts";
import { toJsonText } from "./json.ts";
import type { RunOptions } from "./run.ts";
import { conclude } from "./run.ts";
import { toTimeline } from "./timeline.ts";

/** `capstan runs ls`: the newest first. */
export async function listRuns(session: Session, options: { json?: boolean; limit: string }): Promise<ExitCode> {
  const { app, print } = session;
  await demandRead(session);
  const runs = await app.host.list(parseCount(options.limit));
  if (options.json === true) {
    print(toJsonText(runs));
    return 0;
  }
  for (const { runId, status, task, startedAt } of runs) {
    print(
      `${runId}  ${new Date(startedAt).toISOString()}  ${status.padEnd(9)}  ${task.replaceAll(/\s+/g, " ").slice(0, 60)}`,
    );
  }
  return 0;
}

/** `capstan runs show ID`: the run as a timeline that a person reads, or its events. */
export async function showRun(session: Session, runId: string, options: { json?: boolean }): Promise<ExitCode> {
  const { print } = session;
  const { events } = await readRun(session, runId);
  if (options.json === true) print(toJsonText(events));
  else for (const line of toTimeline(events)) print(line);
  return 0;
}

/** `capstan runs resume ID`: goes on where the log ends; approves nothing. */
export async function resumeRun(session: Session, runId: string, options: RunOptions): Promise<ExitCode> {
  const grant = await session.grant(options);
  const outcome = await session.app.host.resume(runId, { grant, signal: session.signal });
  return await conclude(session, outcome, options);
}

/** `capstan runs approve ID CALL`: releases that exact call, once; the run goes on with `runs resume`. */
export async function approveCall(
  session: Session,
  runId: string,
  callId: string,
  options: GrantFlags,
): Promise<ExitCode> {
  await session.app.host.approve(runId, callId, await session.grant(options));
  session.tell(`Approved, for ten minutes. Go on with: ${session.commandLine(`runs resume ${runId}`, options)}`);
  return 0;
}

/** `capstan runs deny ID CALL`: the model reads that a person said no. */
export async function denyCall(
  session: Session,
  runId: string,
  callId: string,
  options: GrantFlags & { reason?: string },
): Promise<ExitCode> {
  await session.app.host.deny(runId, callId, options.reason ?? "A person said no.", await session.grant(options));
  session.tell(`Denied. Go on with: ${session.commandLine(`runs resume ${runId}`, options)}`);
  return 0;
}

/** `capstan runs export ID -o FILE`: the whole log as JSON lines, to stdout without `-o`; an existing file is kept. */
export async function exportRun(session: Session, runId: string, options: { output?: string }): Promise<ExitCode> {
  const { app, print, tell } = session;
  // Files are written with the operator's own hands.
  if (options.output !== undefined) session.demandOperator();
  await readRun(session, runId);
  if (options.output === undefined) {
    for await (const line of app.host.exportRun(runId)) print(line);
    return 0;
  }
  const lines: string[] = [];
  for await (const line of app.host.exportRun(runId)) lines.push(line);
  await using file = await open(options.output, "wx", 0o600).catch((cause: unknown) => {
    throw new CapstanError(
      "usage.bad_option",
      `${options.output} can't be written: it exists, or its folder does not.`,
      { cause },
    );
  });
  await file.writeFile(`${lines.join("\n")}\n`);
  tell(`Wrote ${lines.length} lines to ${options.output}.`);
  return 0;
}

/** A run for who may read runs. Whoever reads it under a token has seen what the run saw. */
async function readRun(
  session: Session,
  runId: string,
): Promise<{ readonly run: Run; readonly events: readonly Event[] }> {
  await demandRead(session, runId);
  const { app, confined } = session;
  const read = await app.host.load(runId);
  if (confined) await app.permissions.taints.add(await session.grant(), read.run.taint);
  return read;
}

/** A log holds what its run saw: only who may read runs may read it. */
async function demandRead(session: Session, runId?: string): Promise<void> {
  const need = { type: "run", action: "read", ...(runId === undefined ? {} : { runId }) } as const;
  demand(await session.grant(), [need], session.app.permissions.now());
}

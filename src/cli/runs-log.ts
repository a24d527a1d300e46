import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { basename } from "node:path";
import { counted } from "../core/counted.ts";
import { CapstanError } from "../core/error.ts";
import type { Json } from "../core/json.ts";
import { parseJson } from "../core/json.ts";
import { openLineCutter } from "../core/lines.ts";
import { maxLineBytes } from "../host/run-file.ts";
import { parseCount } from "./amounts.ts";
import type { ExitCode, Session } from "./command.ts";
import { toJsonText } from "./json.ts";
import type { ModelOptions } from "./run-options.ts";
import { toRunRequest } from "./run-options.ts";
import { driveToEnd } from "./run.ts";
import { demandRead, readRun } from "./runs.ts";

interface ForkOptions extends ModelOptions {
  readonly at: string;
  readonly message?: string;
  /** `CALL=JSON` each. */
  readonly result?: readonly string[];
  /** false: `--no-run`. */
  readonly run: boolean;
  readonly json?: boolean;
  readonly jsonl?: boolean;
}

/** `capstan runs fork ID --at N`: goes on from an event as another run, with a message or results of tools changed. */
export async function forkRun(session: Session, runId: string, options: ForkOptions): Promise<ExitCode> {
  const { app, signal, print, tell } = session;
  const grant = await session.grant(options);
  const { model, baseUrl, limits = {} } = toRunRequest(session, grant, options);
  const changes = {
    at: parseCount(options.at),
    ...(options.message === undefined ? {} : { message: options.message }),
    results: Object.fromEntries((options.result ?? []).map(toResult)),
    ...(model === undefined ? {} : { model }),
    ...(baseUrl === undefined ? {} : { baseUrl }),
    limits,
  };
  const fork = { ...changes, grant, signal };
  if (options.run) {
    const { events: before } = await app.host.load(runId);
    return await driveToEnd(session, { ...options, before }, (onSignal) => app.host.fork(runId, { ...fork, onSignal }));
  }
  const { runId: made } = await app.host.fork(runId, { ...fork, drives: false });
  print(made);
  tell(`Go on with: ${session.commandLine(`runs resume ${made}`, options)}`);
  return 0;
}

function toResult(text: string): readonly [string, Json] {
  const place = text.indexOf("=");
  if (place < 1) {
    throw new CapstanError("usage.bad_option", `--result takes CALL=JSON, not ${JSON.stringify(text.slice(0, 80))}.`);
  }
  const callId = text.slice(0, place);
  const value = parseJson(text.slice(place + 1));
  if (value !== undefined) return [callId, value];
  throw new CapstanError(
    "usage.bad_option",
    `--result ${callId}= takes JSON, such as '{"found":3}' or '"a text"', not ${JSON.stringify(text.slice(place + 1, place + 81))}.`,
  );
}

/** `capstan runs verify ID [FILE]`: whether anybody changed the log, and whether the file holds it; names the first bad event, exit code 1. */
export async function verifyRun(
  session: Session,
  runId: string,
  file: string | undefined,
  options: { readonly json?: boolean },
): Promise<ExitCode> {
  const { app, print } = session;
  await demandRead(session, runId);
  if (file !== undefined) session.demandOperator();
  const verdict = await app.host.verify(runId, file === undefined ? undefined : readLines(file));
  const { ok, events, sealed, problem } = verdict;
  const seal = sealed ? "its end is sealed by this home" : "its end is not sealed by this home";
  if (options.json === true) print(toJsonText(verdict));
  else print(ok ? `${runId} is whole: ${counted(events, "event")}, ${seal}.` : `${runId} was changed: ${problem}`);
  return ok ? 0 : 1;
}

/** `capstan runs replay ID`: decides it anew, performing nothing; shows the first difference, exit code 1. */
export async function replayRun(
  session: Session,
  runId: string,
  options: { readonly json?: boolean },
): Promise<ExitCode> {
  const { app, print } = session;
  await readRun(session, runId);
  const verdict = await app.host.replay(runId);
  const { ok, events, difference } = verdict;
  if (options.json === true) print(toJsonText(verdict));
  else if (difference === undefined) print(`${runId} comes out the same: ${counted(events, "event")}.`);
  else {
    print(`Event ${difference.seq} of ${difference.runId} comes out otherwise.`);
    print(`In the log: ${difference.expected}`);
    print(`Today:      ${difference.got}`);
  }
  return ok ? 0 : 1;
}

/** `capstan runs export ID -o FILE`: the run as lines of JSON, to stdout without `-o`; an existing file is kept. */
export async function exportRun(session: Session, runId: string, options: { output?: string }): Promise<ExitCode> {
  const { app, print, tell } = session;
  const { output } = options;
  // Files are written with the operator's own hands.
  if (output !== undefined) session.demandOperator();
  await readRun(session, runId);
  if (output === undefined) {
    for await (const line of app.host.exportRun(runId)) print(line);
    return 0;
  }
  await using file = await open(output, "wx", 0o600).catch((cause: unknown) => {
    throw new CapstanError("usage.bad_option", `${output} can't be written: it exists, or its folder does not.`, {
      cause,
    });
  });
  let lines = 0;
  for await (const line of app.host.exportRun(runId)) {
    await file.writeFile(`${line}\n`);
    lines += 1;
  }
  tell(`Wrote ${counted(lines, "line")} to ${output}.`);
  return 0;
}

/** `capstan runs import FILE`: prints the id under which the run is kept, tainted whole. */
export async function importRun(session: Session, file: string, options: { name?: string }): Promise<ExitCode> {
  const { app, print, tell } = session;
  session.demandOperator();
  const { name = toName(file) } = options;
  const runId = await app.host.importRun(readLines(file), { name, grant: await session.grant() });
  print(runId);
  tell(`Imported, tainted import:${name}. See: ${session.commandLine(`runs show ${runId}`)}`);
  return 0;
}

/** What the file is called, up to the first dot. */
function toName(file: string): string {
  const [name = ""] = basename(file).split(".");
  return name.replaceAll(/[^\w-]/g, "-").slice(0, 64) || "file";
}

/** The lines of a file; null for one that is too long. Throws `usage.bad_option` for a file that can't be read. */
async function* readLines(file: string): AsyncGenerator<string | null> {
  const cut = openLineCutter(maxLineBytes);
  const toText = (line: ReturnType<typeof cut>[number]): string | null =>
    Buffer.isBuffer(line) ? line.toString() : null;
  try {
    let ended = true;
    for await (const chunk of createReadStream(file)) {
      const bytes = Buffer.from(chunk);
      ended = bytes.at(-1) === 0x0a;
      yield* cut(bytes).map(toText);
    }
    if (!ended) yield* cut(Buffer.from("\n")).map(toText);
  } catch (cause) {
    if (!(cause instanceof Error && "syscall" in cause)) throw cause;
    throw new CapstanError("usage.bad_option", `${file} can't be read. Name a file that is there.`, { cause });
  }
}

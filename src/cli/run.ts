import { text } from "node:stream/consumers";
import { counted } from "../core/counted.ts";
import { CapstanError, meaningOf } from "../core/error.ts";
import type { RunOutcome } from "../host/host.ts";
import type { RunSignal } from "../host/world.ts";
import { demand } from "../permissions/demand.ts";
import type { Grant } from "../permissions/grant.ts";
import type { ExitCode, GrantFlags, Session } from "./command.ts";
import { parseCount, parseDuration, parseMicroUsd } from "./amounts.ts";
import { toJsonText } from "./json.ts";

/** The options of `capstan run`. */
export interface RunOptions extends GrantFlags {
  readonly model?: string;
  readonly baseUrl?: string;
  readonly json?: boolean;
  readonly jsonl?: boolean;
  readonly turns?: string;
  readonly time?: string;
  readonly costUsd?: string;
}

/** Text that is piped in is context of the task, never instructions, and at most this large. */
const maxContextBytes = 4 * 1024 * 1024;

/** `capstan run "task"`: the answer on stdout, everything else on stderr. */
export async function runTask(session: Session, task: string, options: RunOptions): Promise<ExitCode> {
  const { app, signal } = session;
  await app.bridge?.ready(signal);
  const grant = await session.grant(options);
  demandBaseUrl(session, grant, options);
  const context = await readContext(session);
  const model = options.model ?? app.config.host.model;
  const outcome = await app.host.start({
    task,
    ...(context === undefined ? {} : { context }),
    model,
    ...(options.baseUrl === undefined ? {} : { baseUrl: options.baseUrl }),
    grant,
    limits: toLimits(options),
    signal,
    onSignal: toProgress(session, options),
  });
  return await conclude(session, outcome, options);
}

/** What the operator names is trusted; the holder of a token is sent nowhere but where the token may go. */
function demandBaseUrl({ app, confined }: Session, grant: Grant, { baseUrl }: RunOptions): void {
  if (confined && baseUrl !== undefined) demand(grant, [{ type: "net", url: baseUrl }], app.permissions.now());
}

/** Prints the end of a run and says what goes on; shared by `run` and `runs resume`. */
export async function conclude(session: Session, outcome: RunOutcome, options: RunOptions): Promise<ExitCode> {
  const { commandLine, print, tell } = session;
  if (options.json === true) print(toJsonText(outcome));
  else if (options.jsonl === true) print(JSON.stringify({ type: "outcome", ...outcome }));
  else if (outcome.answer !== "") (outcome.status === "done" ? print : tell)(outcome.answer);
  if (outcome.message !== undefined) tell(`${outcome.code ?? outcome.status}: ${outcome.message}`);
  const { runId, turns, toolCalls, costMicroUsd, wallMs } = outcome;
  for (const { callId, question } of outcome.pending) {
    const answer = (word: string): string => commandLine(`runs ${word} ${runId} ${callId}`, options);
    tell(`${question}\nTo allow it: ${answer("approve")}\nTo refuse it: ${answer("deny")}`);
  }
  const resume = commandLine(`runs resume ${runId}`, options);
  if (outcome.status === "suspended") tell(`Then go on with: ${resume}`);
  else if (outcome.code === "core.interrupted") tell(`Go on with: ${resume}`);
  const cost = costMicroUsd === 0 ? "" : `, ${(costMicroUsd / 1e6).toFixed(4)} USD`;
  tell(
    `${runId}: ${outcome.status}, ${counted(turns, "turn")}, ${counted(toolCalls, "tool call")}${cost}, ${(wallMs / 1000).toFixed(1)} s`,
  );
  return toExitCode(outcome);
}

/** A run that failed for a known reason ends with the exit code of that reason, such as a provider that is down. */
function toExitCode({ status, code }: RunOutcome): ExitCode {
  switch (status) {
    case "done":
      return 0;
    case "suspended":
      return 75;
    case "limit":
      return 5;
    case "refused":
      return 6;
    case "cancelled":
      return 130;
    case "failed":
      return code === undefined ? 1 : (meaningOf(code)?.exit ?? 1);
    default:
      return status satisfies never;
  }
}

/** What is piped in, to its end; a terminal and an empty pipe give nothing. A pipe that stays open is waited for, and that is said. */
async function readContext({ tell }: Session): Promise<string | undefined> {
  if (process.stdin.isTTY) return undefined;
  const hint = setTimeout(
    () => tell("Reading context from stdin. Close it, or add < /dev/null, if there is none."),
    3_000,
  );
  const content = await text(process.stdin).finally(() => clearTimeout(hint));
  if (content.length > maxContextBytes) {
    throw new CapstanError("usage.bad_option", `stdin is larger than ${maxContextBytes} bytes. Pass a part of it.`);
  }
  return content === "" ? undefined : content;
}

function toLimits({ turns, time, costUsd }: RunOptions) {
  return {
    ...(turns === undefined ? {} : { turns: parseCount(turns) }),
    ...(time === undefined ? {} : { timeMs: parseDuration(time) }),
    ...(costUsd === undefined ? {} : { costMicroUsd: parseMicroUsd(costUsd) }),
  };
}

/** With `--jsonl` every signal is a line; a person at a terminal sees sentences. */
function toProgress({ print, tell }: Session, { jsonl }: RunOptions) {
  const live = process.stderr.isTTY;
  return (signal: RunSignal): void => {
    if (jsonl === true) print(JSON.stringify(signal));
    else if (live && signal.type === "progress") tell(signal.text);
  };
}

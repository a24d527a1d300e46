import { counted } from "../core/counted.ts";
import { meaningOf } from "../core/error.ts";
import type { Usage } from "../core/event.ts";
import type { RunOutcome } from "../host/outcome.ts";
import { toOption } from "./command-line.ts";
import type { ExitCode, GrantFlags, Session } from "./command.ts";
import { toJsonText } from "./json.ts";

/** Who answers in a conversation, as options of the command line. */
export interface Addressee {
  readonly model?: string;
  readonly baseUrl?: string;
  readonly agent?: string;
  readonly var?: readonly string[];
}

/** How the end of a run is printed. */
interface EndOptions extends GrantFlags, Addressee {
  readonly json?: boolean;
  readonly jsonl?: boolean;
  /** The answer stands on the terminal already. */
  readonly isShown?: boolean;
  /** More is said in the same conversation, so how to go on is said at its end. */
  readonly isChat?: boolean;
}

/** Prints the end of a run, and in the last line of stderr what it took and which command goes on. */
export function printEnd(session: Session, outcome: RunOutcome, options: EndOptions): ExitCode {
  const { commandLine, print, tell } = session;
  const { status, code, message, pending, value } = outcome;
  const answer = value === undefined ? outcome.answer : toJsonText(value);
  if (options.json === true) print(toJsonText(outcome));
  else if (options.jsonl === true) print(JSON.stringify({ type: "outcome", ...outcome }));
  else if (answer !== "" && options.isShown !== true) (status === "done" ? print : tell)(answer);
  if (message !== undefined) tell(`${code ?? status}: ${message}`);
  for (const { runId, callId, question } of pending) {
    // The grant of a run, or the token that it was made from, approves nothing of it.
    const { as: _, ...flags } = options;
    const decide = (word: string): string => commandLine(`runs ${word} ${runId} ${callId}`, flags, "none");
    tell(`${question}\nTo allow it: ${decide("approve")}\nTo refuse it: ${decide("deny")}`);
  }
  tell(`${totalsInWords(outcome)}${toNext(session, outcome, options)}`);
  return toExitCode(outcome);
}

/** `run_1: done, 2 turns, 1 tool call, 1200 tokens in (1000 cached), 80 out, 0.0012 USD, 3.1 s` */
function totalsInWords({ runId, status, turns, toolCalls, usage, costMicroUsd, wallMs }: RunOutcome): string {
  const cost = costMicroUsd === 0 ? [] : [`${(costMicroUsd / 1e6).toFixed(4)} USD`];
  const time = `${(wallMs / 1_000).toFixed(1)} s`;
  const calls = [counted(turns, "turn"), counted(toolCalls, "tool call")];
  return `${runId}: ${[status, ...calls, ...usageInWords(usage), ...cost, time].join(", ")}`;
}

/** Tokens in, of them from the provider's cache, and out; nothing where there is no model. */
export function usageInWords(usage: Usage): readonly string[] {
  const { inputUncached, cacheRead, cacheWrite5m, cacheWrite1h, output, reasoning } = usage;
  const input = inputUncached + cacheRead + cacheWrite5m + cacheWrite1h;
  if (input + output + reasoning === 0) return [];
  const cached = cacheRead === 0 ? "" : ` (${cacheRead} cached)`;
  return [`${counted(input, "token")} in${cached}`, `${output + reasoning} out`];
}

function toNext(session: Session, outcome: RunOutcome, options: EndOptions): string {
  const { commandLine } = session;
  const { runId, conversation = runId, status, code } = outcome;
  if (status === "suspended") return `. Then go on with: ${commandLine(`runs resume ${runId}`, options)}`;
  if (code === "core.interrupted") return `. Go on with: ${commandLine(`runs resume ${runId}`, options)}`;
  return options.isChat === true ? "" : `. Go on with: ${toChatLine(session, conversation, options)}`;
}

/** The command that says more in a conversation, to whoever answered in it: a run does not take that from the one before it. */
export function toChatLine(
  { commandLine }: Session,
  conversation: string,
  { model, baseUrl, agent, var: variables = [], ...flags }: GrantFlags & Addressee,
): string {
  const to = [
    ...toOption("--agent", agent),
    ...variables.flatMap((variable) => toOption("--var", variable)),
    ...toOption("--model", model),
    ...toOption("--base-url", baseUrl),
  ];
  return commandLine(["chat --conversation", conversation, ...to].join(" "), flags);
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

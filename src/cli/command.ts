import { homedir } from "node:os";
import { join, resolve } from "node:path";
import type { App } from "../app.ts";
import type { Grant } from "../permissions/grant.ts";
import { CapstanError, errorCodes, toCapstanError } from "../core/error.ts";
import { flushTelemetry } from "../host/telemetry/flush.ts";
import type { TokenSource } from "./command-line.ts";
import { toCommandLine } from "./command-line.ts";
import { toTerminal } from "./terminal.ts";
import { readToken } from "./token-source.ts";

/** The options that stand before any command. */
export interface Globals {
  readonly home?: string;
  readonly config?: string;
  readonly grant?: string;
  readonly verbose?: boolean;
}

/** Options of the commands that act under the operator's own grant. */
export interface GrantFlags {
  readonly root?: readonly string[];
  readonly write?: readonly string[];
  readonly allow?: readonly string[];
  readonly as?: string;
}

/** What a command gets: the opened app, the signal that Ctrl-C aborts, and the two outputs. */
export interface Session {
  readonly app: App;
  readonly signal: AbortSignal;
  /** Until it is disposed, Ctrl-C goes to the handler; where that gives false it is the first, or second, of the process. */
  readonly catchInterrupt: (handler: () => boolean) => Disposable;
  /** The grant that this process acts under. Throws `token.*`. */
  readonly grant: (flags?: GrantFlags) => Promise<Grant>;
  /** Whether a token, a name or flags made that grant; else it is the operator's default. */
  readonly isGrantNamed: (flags?: GrantFlags) => boolean;
  /** Whether the process was started with a token, and so speaks for its holder and not for the operator. */
  readonly confined: boolean;
  /** For what only the operator may do, whoever holds a token: throws `permission.no_right`. */
  readonly demandOperator: () => void;
  /**
   * A command to be typed next, such as `runs resume ID`, in this home, under the token of this process unless `token` says otherwise, and,
   * where flags are given, with what they add.
   */
  readonly commandLine: (words: string, flags?: GrantFlags, token?: TokenSource) => string;
  /** Data: the answer or the protocol, with a line end. */
  readonly print: (text: string) => void;
  /** A piece of the answer as it comes, without a line end; for a terminal. */
  readonly stream: (text: string) => void;
  /** Everything else. */
  readonly tell: (text: string) => void;
}

/** The exit code that a command ends with. */
export type ExitCode = number;

/**
 * `~/.capstan`, or what CAPSTAN_HOME or `--home` names. Throws `config.unsafe_home` where that is empty: an empty text would stand for
 * the working folder, from which nothing is read.
 */
export function toHome(globals: Globals): string {
  const named = globals.home ?? process.env["CAPSTAN_HOME"];
  if ((named ?? homedir()) !== "") return resolve(named ?? join(homedir(), ".capstan"));
  throw new CapstanError(
    "config.unsafe_home",
    "--home, CAPSTAN_HOME or HOME is set but empty, so there is no home. Name one: --home DIR.",
  );
}

export const print = (text: string): void => write(process.stdout, `${text}\n`);
export const tell = (text: string): void => write(process.stderr, `${text}\n`);
const stream = (text: string): void => write(process.stdout, text);

/** A pipe and a file get the text as it is. */
function write(to: NodeJS.WriteStream, text: string): void {
  to.write(to.isTTY ? toTerminal(text) : text);
}

/** How long what runs may take to stop after the first Ctrl-C, and what was opened to close. */
const stopMs = 20_000;

/**
 * Opens the app, runs a command and closes what was opened, whatever happens. The first Ctrl-C (or SIGTERM, or SIGHUP) aborts the signal, so
 * that the command ends in order; the second ends the process at once, and so does time, where something does not stop.
 */
export async function withApp(globals: Globals, command: (session: Session) => Promise<ExitCode>): Promise<ExitCode> {
  const { openApp } = await import("../app.ts");
  const { isNamed, toProcessGrant } = await import("./process-grant.ts");
  const presented = await readToken(globals.grant, process.env);
  const interrupt = listenForInterrupt();
  let isOver = false;
  try {
    await using opened = new AsyncDisposableStack();
    const app = await openApp({
      home: toHome(globals),
      ...(globals.config === undefined ? {} : { config: resolve(globals.config) }),
      env: process.env,
      onFault: (fault) => {
        if (globals.verbose === true) tell(toTrace(fault));
      },
      // What a server says while it is closed comes after the command's last word.
      log: (line) => {
        if (!isOver || globals.verbose === true) tell(line);
      },
    });
    opened.defer(() => {
      isOver = true;
      return closeInTime(app);
    });
    const grant = (flags: GrantFlags = {}): Promise<Grant> => toProcessGrant(app, presented, flags, tell);
    const isGrantNamed = (flags: GrantFlags = {}): boolean => isNamed(presented, flags);
    const confined = presented !== undefined;
    const demandOperator = (): void => {
      if (confined) throw onlyOperator();
    };
    const commandLine: Session["commandLine"] = (...typed) => toCommandLine(globals, ...typed);
    const { signal, catchInterrupt } = interrupt;
    const outputs = { commandLine, print, stream, tell };
    return await command({ app, signal, catchInterrupt, grant, isGrantNamed, confined, demandOperator, ...outputs });
  } finally {
    interrupt.stop();
  }
}

/** What a command answers a token for which it is none of its holder's business. */
export function onlyOperator(): CapstanError {
  return new CapstanError("permission.no_right", "Only the operator may do this. Leave the token out.");
}

/** Says on stderr what went wrong and returns the exit code for it. A stack is shown only with `--verbose`. */
export function report(thrown: unknown, verbose: boolean): ExitCode {
  const error = toCapstanError(thrown);
  tell(`${error.code}: ${error.message}`);
  if (verbose) tell(toTrace(error.code === "core.internal" ? error.cause : error));
  return errorCodes[error.code].exit;
}

function toTrace(fault: unknown): string {
  return fault instanceof Error ? (fault.stack ?? fault.message) : String(fault);
}

/** Ctrl-C, a supervisor that ends the process, and a terminal that is closed. */
const interrupts = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

function listenForInterrupt(): Pick<Session, "signal" | "catchInterrupt"> & { stop(): void } {
  const controller = new AbortController();
  let late: NodeJS.Timeout | undefined;
  let caught: (() => boolean) | undefined;
  const onSignal = (name: NodeJS.Signals): void => {
    if (name === "SIGINT" && caught?.() === true) return;
    if (controller.signal.aborted) process.exit(130);
    late = setTimeout(() => {
      tell(`Something did not stop within ${stopMs / 1_000} s. Ending without it.`);
      process.exit(130);
    }, stopMs);
    controller.abort(new CapstanError("core.interrupted", "Interrupted. What was done so far is kept."));
  };
  for (const name of interrupts) process.on(name, onSignal);
  return {
    signal: controller.signal,
    catchInterrupt(handler) {
      caught = handler;
      return { [Symbol.dispose]: () => (caught = undefined) };
    },
    stop() {
      clearTimeout(late);
      for (const name of interrupts) process.off(name, onSignal);
    },
  };
}

/** Where spans go may be away, and that is no matter of what the command did. */
async function sendSpans(): Promise<void> {
  await flushTelemetry().catch((thrown: unknown) => {
    tell(`OpenTelemetry could not send all spans (${String(thrown)}).`);
  });
}

/** Closes the app; what does not close in time is left to the end of the process. */
async function closeInTime(app: App): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    tell(`Something did not close within ${stopMs / 1_000} s. Ending without it.`);
    late.resolve();
  }, stopMs);
  const closed = app[Symbol.asyncDispose]().then(sendSpans);
  await Promise.race([closed, late.promise]).finally(() => clearTimeout(timer));
}

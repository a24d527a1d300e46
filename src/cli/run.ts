import { CapstanError } from "../core/error.ts";
import type { Event } from "../core/event.ts";
import type { StartRequest } from "../host/host.ts";
import type { RunOutcome } from "../host/outcome.ts";
import { priceOf } from "../host/price.ts";
import type { RunSignal } from "../host/world.ts";
import { openAsking } from "./ask-approval.ts";
import type { ExitCode, GrantFlags, Session } from "./command.ts";
import { readContext } from "./run-context.ts";
import type { Addressee } from "./run-end.ts";
import { printEnd } from "./run-end.ts";
import { openLive } from "./run-live.ts";
import type { ModelOptions } from "./run-options.ts";
import { readImages, toRunRequest } from "./run-options.ts";
import { readSchema } from "./schema-option.ts";

/** The options of `capstan run`. */
export interface RunOptions extends ModelOptions {
  readonly json?: boolean;
  readonly jsonl?: boolean;
  readonly image?: readonly string[];
  readonly dryRun?: boolean;
  /** A file, or JSON itself. */
  readonly schema?: string;
}

/** `capstan run "task"`: the answer on stdout, everything else on stderr. */
export async function runTask(session: Session, task: string, options: RunOptions): Promise<ExitCode> {
  const { app, signal } = session;
  await app.bridge?.ready(signal);
  const grant = await session.grant(options);
  const asked = toRunRequest(session, grant, options);
  const context = await readContext(session, asked.limits?.timeMs ?? app.config.host.limits.timeMs);
  const attachments = await readImages(session, grant, options.image ?? []);
  const request: Omit<StartRequest, "onSignal"> = {
    task,
    ...(context === undefined ? {} : { context }),
    ...(attachments.length === 0 ? {} : { attachments }),
    ...(options.schema === undefined
      ? {}
      : { answerSchema: { schema: await readSchema(session, grant, options.schema) } }),
    ...asked,
    grant,
    signal,
  };
  if (options.dryRun === true) return (await import("./run-dry.ts")).showPlan(session, request, options);
  const begin: Begin = (onSignal) => app.host.start({ ...request, onSignal });
  return await driveToEnd(session, { ...options, isStarter: true }, begin);
}

type Begin = (onSignal: (signal: RunSignal) => void) => Promise<RunOutcome>;

interface DriveOptions extends RunOptions {
  /** The run was begun here, so that the right to begin it is enough to go on once what waits is decided. */
  readonly isStarter?: true;
  /** It is one turn of a `capstan chat`. */
  readonly isChat?: boolean;
  /** One behind the first. */
  readonly isNext?: boolean;
  /** What is on record of the run, or of the one that it goes on from. */
  readonly before?: readonly Event[];
}

/** Drives a run, asks what can be asked here, and prints its end; shared by `run`, `chat` and `runs resume`. */
export async function driveToEnd(session: Session, options: DriveOptions, begin: Begin): Promise<ExitCode> {
  const { signal, print } = session;
  const isData = options.json === true || options.jsonl === true || options.schema !== undefined;
  const { isChat = false, isNext = false, before } = options;
  const shown = { streams: process.stdout.isTTY && !isData, isWatched: process.stderr.isTTY, isNext };
  const live = openLive(session, shown, before);
  const show = (told: RunSignal): void => {
    if (options.maxCost !== undefined) warnOfPrice(session, told);
    if (options.jsonl === true) print(JSON.stringify(told));
    else live.onSignal(told);
  };
  const outcome = await driveAsking(session, options, { begin, show }).catch((thrown: unknown) => {
    live.finish("");
    throw withCommand(session, options, thrown);
  });
  const isShown = live.finish(outcome.answer);
  // The answer is worth more than what the hint below it names.
  const addressee = isChat ? {} : await findAddressee(session, outcome.runId).catch(() => ({}));
  const code = printEnd(session, outcome, { ...addressee, ...options, isShown });
  return signal.aborted && outcome.status === "suspended" ? 130 : code;
}

/** What stopped a run names the command that goes on, and only here it is known how that is typed. */
function withCommand({ commandLine }: Session, options: GrantFlags, thrown: unknown): unknown {
  if (!(thrown instanceof CapstanError)) return thrown;
  const { code, message, details } = thrown;
  const [words, , action, runId = ""] = /capstan (runs (resume|show) (\w+))$/.exec(message) ?? [];
  if (words === undefined || runId !== details["runId"]) return thrown;
  const typed = commandLine(`runs ${action} ${runId}`, options);
  return new CapstanError(code, message.slice(0, -words.length) + typed, { cause: thrown, details });
}

/** A model without a price counts as free, so that no limit in money ends its run. */
function warnOfPrice({ app, tell }: Session, told: RunSignal): void {
  if (told.type !== "event" || told.event.type !== "run.created") return;
  const { model } = told.event;
  if (model === "planner" || priceOf(app.config.host, model) !== undefined) return;
  tell(`--max-cost does not hold for ${model}, whose price is not known. Put it under host.prices in the config.`);
}

/** Drives a run, and asks about the calls that wait for as long as somebody answers. No question outlives it. */
async function driveAsking(
  session: Session,
  options: DriveOptions,
  { begin, show }: { readonly begin: Begin; readonly show: (signal: RunSignal) => void },
): Promise<RunOutcome> {
  const { app, signal } = session;
  const asking = openAsking(session, options, show);
  const { onSignal } = asking;
  try {
    let outcome = await begin(onSignal);
    while (outcome.status === "suspended" && !signal.aborted && (await asking.settle(outcome.pending))) {
      const grant = await session.grant(options);
      const starter = options.isStarter === undefined ? {} : { isStarter: options.isStarter };
      outcome = await app.host.resume(outcome.runId, { grant, signal, onSignal, ...starter });
    }
    return outcome;
  } finally {
    await asking.end();
  }
}

/** Whoever answered in a run, also in one that was begun by another command. The models of the config and of an agent need not be said. */
async function findAddressee({ app }: Session, runId: string): Promise<Addressee> {
  const { model, baseUrl, agent } = (await app.host.load(runId)).run;
  return {
    ...(agent !== undefined || model === app.config.host.model ? {} : { model }),
    ...(baseUrl === undefined ? {} : { baseUrl }),
    ...(agent === undefined ? {} : { agent: agent.name }),
  };
}

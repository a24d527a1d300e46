import { CapstanError, errorCodes, toCapstanError, toText } from "../core/error.ts";
import type { StartRequest } from "../host/host.ts";
import type { Lines } from "./chat-lines.ts";
import { openPipedLines, openTypedLines } from "./chat-lines.ts";
import type { ExitCode, Session } from "./command.ts";
import { toChatLine } from "./run-end.ts";
import type { ModelOptions } from "./run-options.ts";
import { toRunRequest } from "./run-options.ts";
import { driveToEnd } from "./run.ts";

/**
 * `capstan chat`: each message is a run that goes on with the conversation, typed at a terminal or a line of a pipe each. Ctrl-C ends the
 * turn, and a second one leaves; the last line of stderr says how to go on.
 */
export async function chat(session: Session, options: ModelOptions): Promise<ExitCode> {
  const { app, signal, tell } = session;
  await app.bridge?.ready(signal);
  const grant = await session.grant(options);
  let request = toRunRequest(session, grant, options);
  let code: ExitCode = 0;
  let isNext = false;
  await using lines = process.stdin.isTTY ? openTypedLines(tell) : openPipedLines(signal);
  while (!signal.aborted) {
    const said = await nextMessage(lines, signal, (error) => {
      code = tellError(session, error);
    });
    if (said === null) break;
    if (said.trim() === "") continue;
    const turn = await takeTurn(session, { ...request, task: said, grant }, { ...options, isNext });
    code = turn.code;
    if (turn.conversation === undefined) continue;
    const { continue: _, ...rest } = request;
    request = { ...rest, conversation: turn.conversation };
    isNext = true;
  }
  const name = request.conversation;
  if (name !== undefined) tell(`Go on with: ${toChatLine(session, name, options)}`);
  if (signal.aborted) return 130;
  return process.stdin.isTTY ? 0 : code;
}

/** null: there is nothing more, or the process is to end. A message that can't be taken is none, and the next one comes. */
async function nextMessage(
  lines: Lines,
  signal: AbortSignal,
  onError: (error: CapstanError) => void,
): Promise<string | null> {
  const said = await lines.next().catch((thrown: unknown) => {
    if (signal.aborted) return null;
    if (!(thrown instanceof CapstanError)) throw thrown;
    onError(thrown);
    return "";
  });
  return said?.trim() === "/exit" ? null : said;
}

function tellError({ tell }: Session, error: CapstanError): ExitCode {
  tell(toText(error));
  return errorCodes[error.code].exit;
}

/** One run. What goes wrong is said, and the conversation goes on. */
async function takeTurn(
  session: Session,
  request: Omit<StartRequest, "signal">,
  options: ModelOptions & { readonly isNext: boolean },
): Promise<{ readonly code: ExitCode; readonly conversation?: string }> {
  const cancelled = new AbortController();
  using _ = session.catchInterrupt(() => {
    if (cancelled.signal.aborted) return false;
    cancelled.abort(new CapstanError("tool.cancelled", "The turn was cancelled."));
    return true;
  });
  const { signal, app } = session;
  let conversation: string | undefined;
  try {
    const code = await driveToEnd(session, { ...options, isChat: true, isStarter: true }, async (onSignal) => {
      const outcome = await app.host.start({ ...request, signal, cancelled: cancelled.signal, onSignal });
      // The id of a run stands for its conversation.
      conversation = outcome.conversation ?? outcome.runId;
      return outcome;
    });
    return conversation === undefined ? { code } : { code, conversation };
  } catch (thrown) {
    const error = toCapstanError(thrown);
    if (error.code === "core.internal") throw thrown;
    return { code: tellError(session, error) };
  }
}

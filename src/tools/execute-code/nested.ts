import { CapstanError, errorCodes, toCapstanError } from "../../core/error.ts";
import type { ErrorCode } from "../../core/error.ts";
import type { Json } from "../../core/json.ts";
import { isJsonObject } from "../../core/json.ts";
import type { Taint } from "../../core/taint.ts";
import { mergeTaint, trusted } from "../../core/taint.ts";
import type { ExecRequest, ExecResult } from "../../sandbox/engine.ts";
import { questionsInWords } from "../result.ts";
import type { CallContext, Outcome, Progress } from "../tool.ts";

/** Refusals that are remembered; the one that ended the code is among the last. */
const maxRefusals = 16;
/** No more than four reports a second: a terminal shows each on a line. */
const minReportMs = 250;

/** The way of one execution to the tools. Disposing ends it: nothing that comes later reaches the door. */
export interface CodeCalls extends Disposable {
  readonly onCall: NonNullable<ExecRequest["onCall"]>;
  /** What the code was made of, and what its calls brought in. */
  readonly taint: () => Taint;
  /** Adds what came in another way. */
  readonly bring: (from: Taint) => void;
  /** The result, whose status is `denied` where the code ended by an error that says why one of its calls was refused. */
  readonly judge: (result: ExecResult) => ExecResult;
}

/**
 * Opens the way to the tools for the code of one call of `execute_code`, which it reports the calls of. The engine itself refuses what
 * comes after `maxCalls`.
 */
export function openCodeCalls(
  context: Pick<CallContext, "call" | "progress" | "taint">,
  maxCalls = Infinity,
): CodeCalls {
  const report = openReport(context.progress);
  let taint = context.taint;
  let calls = 0;
  let hasEnded = false;
  let refusals: readonly string[] = [];
  return {
    taint: () => taint,
    bring(from) {
      taint = mergeTaint(taint, from);
    },
    async onCall(name, args, _signal, pause) {
      if (hasEnded) throw new CapstanError("tool.cancelled", "The code that makes this call has ended.");
      if (!isJsonObject(args)) {
        throw new CapstanError(
          "tool.bad_arguments",
          `${name} takes its arguments by name: tools.${name}({argument: value}).`,
        );
      }
      // The name is the code's word until the door has found a tool of that name.
      const told = `${/^[\w-]{1,64}$/.test(name) ? name : "a tool"} (call ${(calls += 1)})`;
      report(told);
      const progress = ({ message }: Progress): void => report(message === undefined ? told : `${told}: ${message}`);
      try {
        const outcome = await context.call(name, args, { progress, pause, taint });
        taint = mergeTaint(taint, outcome.taint ?? trusted);
        return toValue(name, outcome);
      } catch (thrown) {
        const { code, message } = toCapstanError(thrown);
        if (isRefusal(code)) refusals = [...refusals, message].slice(-maxRefusals);
        throw thrown;
      }
    },
    judge(result) {
      const { status, error = "" } = result;
      const all = calls < maxCalls ? refusals : [...refusals, "budget.calls: "];
      const isDenied = status === "error" && all.some((message) => error.includes(message));
      return isDenied ? { ...result, status: "denied" } : result;
    },
    [Symbol.dispose]() {
      hasEnded = true;
    },
  };
}

/** Passes on what is not too soon after the last, which moves the progress one step further. */
function openReport(progress: CallContext["progress"]): (message: string) => void {
  let done = 0;
  let nextAt = -Infinity;
  return (message) => {
    const now = performance.now();
    if (now < nextAt) return;
    nextAt = now + minReportMs;
    progress({ done: (done += 1), message });
  };
}

/** What the code gets is the tool's value; a failure is thrown, with its code. */
function toValue(name: string, outcome: Outcome): Json {
  if (outcome.type === "waiting") {
    const questions = questionsInWords(outcome.requests);
    throw new CapstanError("tool.input_needed", `${name} asks what nobody can answer while code runs: ${questions}`);
  }
  const { value, content = [], isError, code = "tool.failed" } = outcome;
  const text = content.map((block) => (block.type === "text" ? block.text : `[${block.type}]`)).join("\n");
  if (isError !== true) return value ?? text;
  const said = text === "" ? JSON.stringify(value ?? null) : text;
  const known = isErrorCode(code) ? code : "tool.failed";
  throw new CapstanError(known, said.startsWith(`${known}: `) ? said.slice(known.length + 2) : said);
}

/** Whether a grant does not allow it, or does not allow more of it. */
const isRefusal = (code: ErrorCode): boolean => code.startsWith("permission.") || code.startsWith("budget.");

const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorCodes, code);

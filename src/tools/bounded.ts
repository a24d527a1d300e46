import { type Context, createContext, Script } from "node:vm";
import { CapstanError } from "../core/error.ts";

/** Nobody but `run` is in the context. It keeps nothing apart: a script is the one thing in Node that can be ended while it computes. */
const script = new Script("run()");
let context: Context | undefined;

/**
 * Runs work that may never come to an end of itself, and does not wait for anything, for `ms` at most. On a busy machine these may be over
 * before the work had half of them: then it begins anew, with twice as long. So it must leave nothing half done behind that it or others
 * use. Costs about a tenth of a millisecond. Throws `tool.bad_definition`, which names the work by `what`, when the time is over, and what
 * the work throws.
 */
export function bounded<T>(what: string, ms: number, work: () => T): T {
  context ??= createContext({});
  const begun = process.threadCpuUsage();
  let done: { readonly value: T } | undefined;
  context["run"] = () => void (done = { value: work() });
  try {
    let timeout = ms;
    while (!endsWithin(timeout, context) && toMs(process.threadCpuUsage(begun)) < ms / 2) timeout *= 2;
  } finally {
    context["run"] = undefined;
  }
  if (done !== undefined) return done.value;
  const text = `${what} took more than ${ms} ms and was given up. Ask who maintains the tool for a simpler schema.`;
  throw new CapstanError("tool.bad_definition", text);
}

const toMs = ({ user, system }: NodeJS.CpuUsage): number => (user + system) / 1_000;

/** Runs the script, to its end or to that of the time. */
function endsWithin(timeout: number, within: Context): boolean {
  try {
    script.runInContext(within, { timeout });
    return true;
  } catch (thrown) {
    if (!isTimeout(thrown)) throw thrown;
    return false;
  }
}

/** The error is one of the context's, so no `Error` of ours. */
function isTimeout(thrown: unknown): boolean {
  return (
    typeof thrown === "object" && thrown !== null && "code" in thrown && thrown.code === "ERR_SCRIPT_EXECUTION_TIMEOUT"
  );
}

import { type Context, createContext, Script } from "node:vm";
import { CapstanError } from "../core/error.ts";

/** Nobody but `run` is in the context. It keeps nothing apart: a script is the one thing in Node that can be ended while it computes. */
const script = new Script("run()");
let context: Context | undefined;

/**
 * Runs work that may never come to an end of itself, and does not wait for anything, for `ms` at most. It must leave nothing half done
 * behind that others use. Costs about a tenth of a millisecond. Throws `tool.bad_definition`, which names the work by `what`, when the time
 * is over, and what the work throws.
 */
export function bounded<T>(what: string, ms: number, work: () => T): T {
  context ??= createContext({});
  let done: { readonly value: T } | undefined;
  context["run"] = () => void (done = { value: work() });
  try {
    script.runInContext(context, { timeout: ms });
  } catch (thrown) {
    if (!isTimeout(thrown)) throw thrown;
  } finally {
    context["run"] = undefined;
  }
  if (done !== undefined) return done.value;
  const text = `${what} took more than ${ms} ms and was given up. Ask who maintains the tool for a simpler schema.`;
  throw new CapstanError("tool.bad_definition", text);
}

/** The error is one of the context's, so no `Error` of ours. */
function isTimeout(thrown: unknown): boolean {
  return (
    typeof thrown === "object" && thrown !== null && "code" in thrown && thrown.code === "ERR_SCRIPT_EXECUTION_TIMEOUT"
  );
}

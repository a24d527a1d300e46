import type { Taint } from "../../core/taint.ts";
import { trusted } from "../../core/taint.ts";
import type { ExecRequest, Sandbox } from "../../sandbox/engine.ts";
import type { SessionRun, Sessions } from "../sessions.ts";
import type { CallContext } from "../tool.ts";
import type { Input } from "./schema.ts";

/** Where the code of one call runs: in a sandbox of its own, or in a session. */
export interface Place extends AsyncDisposable {
  /** Where what is there already came from. */
  readonly taint: Taint;
  /** `taint` is asked after the run for all that came in by then. */
  run(
    request: ExecRequest,
    taint: () => Taint,
    signal: AbortSignal,
  ): Promise<Pick<SessionRun, "result"> & Partial<SessionRun>>;
}

/** The place for a call. `open` opens a sandbox where there is none. */
export async function openPlace(
  { session, language, network: isNetworked = false }: Input,
  context: CallContext,
  sessions: Sessions,
  open: () => Promise<Sandbox>,
): Promise<Place> {
  if (session !== undefined)
    return await sessions.enter({ ...context, name: session, language, isNetworked, open }, context.signal);
  const sandbox = await open();
  return {
    taint: trusted,
    run: async (request, _taint, signal) => ({ result: await sandbox.run(request, signal) }),
    [Symbol.asyncDispose]: () => sandbox[Symbol.asyncDispose](),
  };
}

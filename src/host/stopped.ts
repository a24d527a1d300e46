import { CapstanError } from "../core/error.ts";
import type { Run } from "../core/run.ts";

/**
 * What stopped a run from outside of it, with the words by which it goes on, or, where it was over by then, by which it is looked at: where
 * its log can't be written nothing is concluded, and nothing that is in it is lost. Other errors, and that of a run which somebody else has
 * taken over, come back as they are.
 */
export function toStopped(thrown: unknown, { runId, end }: Pick<Run, "runId" | "end">): unknown {
  if (!(thrown instanceof CapstanError) || !thrown.code.startsWith("store.") || thrown.code === "store.conflict") {
    return thrown;
  }
  // Of runs within runs the outermost is the one to go on with.
  const first = thrown.cause instanceof CapstanError ? thrown.cause : thrown;
  const left =
    end === null
      ? `${runId} has stopped where its log ends. Then go on with: capstan runs resume ${runId}`
      : `${runId} is over (${end.status}), and its log is whole. Then see it with: capstan runs show ${runId}`;
  const message = `${first.message} ${left}`;
  return new CapstanError(first.code, message, { cause: first, details: { ...first.details, runId } });
}

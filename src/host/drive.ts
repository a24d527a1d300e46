import { CapstanError } from "../core/error.ts";
import type { Run } from "../core/run.ts";
import { callModel } from "./call-model.ts";
import { askAgain, callTool, endCall } from "./call-tool.ts";
import { openBell } from "./bell.ts";
import { compact } from "./context/compact.ts";
import { readResult } from "./context/read-result.ts";
import type { Command } from "./decide.ts";
import { decide } from "./decide.ts";
import { screenInputs } from "./guardrails/screen-inputs.ts";
import { readInbox } from "./inbox.ts";
import { openInFlight } from "./in-flight.ts";
import { openRunLog } from "./log.ts";
import { toSeal } from "./verify.ts";
import type { Work, World } from "./world.ts";

/** How often the inbox is read while calls are in flight. */
const inboxMs = 500;
/** Why what is still in flight stops once nobody drives the run any more. Made once: a reason of its own for each run costs its stack. */
const left = new CapstanError("tool.cancelled", "Nobody drives the run any more.");
/** The longest time that a Node timer can hold. */
const maxTimerMs = 2 ** 31 - 1;

/**
 * Drives a run until it is finished or waits for a person, as its one driver: takes its inbox into the log, performs every command
 * that is not in flight, and starts over. Aborting `signal` stops in order: what has ended is recorded, what has not is left as it
 * stands in the log, and the run can be resumed. Throws `store.conflict` when another driver has taken the run over, and what the
 * store throws; whatever was in flight has stopped by then.
 */
export async function drive(start: Run, world: World, signal: AbortSignal, bell = openBell()): Promise<Run> {
  using inFlight = openInFlight(inboxMs);
  const log = openRunLog(start, {
    ...world,
    onEvent: (event) => world.onSignal({ type: "event", event }),
    onLost: (reason) => inFlight.fail(reason),
  });
  const halted = new AbortController();
  const work: Work = { world, log, signal, halt: AbortSignal.any([signal, halted.signal]) };
  const leftMs = Math.min(Math.max(0, start.limits.timeMs - start.activeMs), maxTimerMs);
  const timer = setTimeout(() => halted.abort(timeOver(start)), leftMs);
  signal.addEventListener("abort", inFlight.wake);
  bell.onRing = inFlight.wake;
  try {
    // What comes in once the run is concluded stays in its inbox: behind its end nothing is written.
    while (!signal.aborted && inFlight.failure() === null && log.run().status === "running") {
      if (bell.isDue()) await takeInbox(work);
      const commands = decide(log.run());
      const [first] = commands;
      if (first === undefined) break;
      if (first.type === "finish" || first.type === "suspend") {
        // What is in flight may still change the decision.
        if (inFlight.isEmpty()) await conclude(first, work);
        else if (first.type === "finish") halted.abort(new CapstanError("tool.cancelled", "The run has ended."));
        await inFlight.settled();
        continue;
      }
      for (const command of commands) inFlight.start(command.id, () => perform(command, work));
      await inFlight.next();
    }
    const failure = inFlight.failure();
    if (failure !== null) {
      halted.abort(failure.reason);
      throw failure.reason;
    }
    await inFlight.settled();
    if (log.run().status === "running") {
      await log.append([{ type: "run.suspended", reason: "interrupted", callIds: [] }]);
    }
    await log.settled();
    return log.run();
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", inFlight.wake);
    halted.abort(left);
    await inFlight.settled();
    // Nothing is written any more once this driver has left, whichever way.
    await log.settled().catch(() => {});
  }
}

async function takeInbox({ world, log }: Work): Promise<void> {
  const { scope, runId } = log.run();
  const { inputs, ids } = await readInbox(world.store, scope, runId);
  if (ids.length === 0) return;
  const received = inputs.map((input) => ({ type: "input.received" as const, input }));
  await log.append(screenInputs(received, log.run().guardrails), { taken: ids });
}

async function perform(command: Command, work: Work): Promise<void> {
  switch (command.type) {
    case "call_model":
      return await callModel(command, work);
    case "call_tool":
      return await callTool(command, work);
    case "ask":
      return await askAgain(command, work);
    case "compact":
      return await compact(command, work);
    case "read_result":
      return await readResult(command, work);
    case "end_call":
      return await endCall(command.id, command.outcome, work);
    default:
      return await conclude(command, work);
  }
}

async function conclude(command: Command & { type: "finish" | "suspend" }, { world, log }: Work): Promise<void> {
  if (command.type === "suspend") {
    return await log.append([{ type: "run.suspended", reason: "approval", callIds: [...command.callIds] }]);
  }
  const { scope, runId } = log.run();
  await log.append([{ type: "run.finished", ...command.end }], { seal: toSeal(world.permissions, scope, runId) });
}

function timeOver({ limits }: Run): CapstanError {
  return new CapstanError("run.time", `The run has used its ${limits.timeMs} ms.`);
}

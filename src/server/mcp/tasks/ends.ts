import { ProtocolError } from "@modelcontextprotocol/server";
import { CapstanError } from "../../../core/error.ts";
import type { JsonObject } from "../../../core/json.ts";
import { isJsonObject } from "../../../core/json.ts";
import { mergeTaint } from "../../../core/taint.ts";
import type { Grant } from "../../../permissions/grant.ts";
import type { CallResult, Door } from "../../../tools/call.ts";
import type { Answerer, Outcome } from "../../../tools/tool.ts";
import { demandAnswerable } from "../envelope.ts";
import { type Offering, toOfferedOutcome } from "../offering.ts";
import { toWireRequest } from "../questions.ts";
import { toCallResult, toFailedCall, toProtocolError } from "../result.ts";
import type { KeptTask, TaskChange } from "./records.ts";

/** The call whose end it is. */
interface About {
  readonly grant: Grant;
  readonly name: string;
  readonly callId: string;
  /** Which questions its client can answer. */
  readonly can: Answerer["can"];
}

/**
 * What becomes of a task when its call has ended or waits. A fault of ours is a failed task, everything that a model can read a completed
 * one (extension Tasks, Task Execution Errors). Throws -32021 for questions that nobody could answer.
 */
export async function toEnd(
  { outcome, taint }: CallResult,
  { grant, name, callId, can }: About,
  offered: { readonly door: Door; readonly offering?: Offering | undefined },
): Promise<(now: KeptTask) => TaskChange> {
  if (outcome.type === "waiting") {
    if (outcome.durable !== true) demandAnswerable(outcome.requests, { can });
    const asked = outcome.requests.map((request) => ({ ...request, wire: toJson(toWireRequest(request)) }));
    return (now) => ({ ...toWaiting(now, outcome, asked), taint: [...mergeTaint(now.taint, taint)] });
  }
  if (outcome.code === "core.internal") {
    const failed = toFailure(
      new CapstanError("core.internal", "Something failed inside Capstan. The server's log says what."),
    );
    return () => failed;
  }
  const offer = await toOfferedOutcome(outcome, { grant, name, callId, taint }, offered);
  const completed = toCompleted(toCallResult(offer));
  // Where its time is over and not the task's, whoever asks next takes it up again.
  const goesOn = ({ phase }: KeptTask): boolean =>
    outcome.code === "tool.timeout" && phase.type === "working" && phase.state !== undefined;
  return (now) => (goesOn(now) ? {} : { ...completed, taint: [...mergeTaint(now.taint, taint)] });
}

/** What becomes of a task whose call was refused, or failed without an outcome. */
export function toFailure(thrown: unknown): TaskChange {
  try {
    if (thrown instanceof ProtocolError) throw thrown;
    return toCompleted(toFailedCall(thrown));
  } catch (failed) {
    const { code, message, data } = toProtocolError(failed);
    const error = { code, message, ...(isJsonObject(data) ? { data: toJson(data) } : {}) };
    return { phase: { type: "failed", error } };
  }
}

function toCompleted(result: object): TaskChange {
  return { phase: { type: "completed" }, bytes: Buffer.from(JSON.stringify({ resultType: "complete", ...result })) };
}

type Waiting = Extract<Outcome, { readonly type: "waiting" }>;
type Question = Waiting["requests"][number] & { readonly wire: JsonObject };

/**
 * A question that is still open keeps its key; a new one gets a key that none had before (extension Tasks, Task Update Requests). What
 * was answered meanwhile is not asked again.
 */
function toWaiting(now: KeptTask, { state, durable }: Waiting, asked: readonly Question[]): TaskChange {
  const before = now.phase.type === "waiting" ? now.phase : { questions: [], responses: {} };
  const { responses } = before;
  const keys = [...now.keys];
  const questions = asked
    .filter(({ id }) => !Object.hasOwn(responses, id))
    .map(({ id, type, wire }) => {
      const known = before.questions.find((question) => question.id === id);
      return known ?? { key: addKey(keys, id), id, type, wire };
    });
  return { keys, phase: { type: "waiting", state, durable: durable === true, questions, responses } };
}

function addKey(keys: string[], id: string): string {
  let key = id;
  for (let again = 2; keys.includes(key); again++) key = `${id}-${again}`;
  keys.push(key);
  return key;
}

/** The same as it is on record. */
function toJson(value: object): JsonObject {
  const json: unknown = JSON.parse(JSON.stringify(value));
  return isJsonObject(json) ? json : {};
}

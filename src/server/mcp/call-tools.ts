import {
  type CallToolResult,
  type InputRequiredResult,
  ProtocolError,
  type Tool as WireTool,
} from "@modelcontextprotocol/server";
import { z } from "zod";
import { toCapstanError, toText } from "../../core/error.ts";
import { newId } from "../../core/id.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { Taint } from "../../core/taint.ts";
import type { Answerer, Outcome } from "../../tools/tool.ts";
import { ApprovalState, approveNow, takeApproval, toApprovalQuestion } from "./approval.ts";
import { addTaint, type Connection, taintOf, toGrant, toProgress } from "./connection.ts";
import { demandAnswerable } from "./envelope.ts";
import { type Exchange, toAnswerer } from "./exchange.ts";
import { toMeant, toOffered, toOfferedOutcome } from "./offering.ts";
import type { ProgressReport } from "./progress.ts";
import type { Answered, Asking } from "./questions.ts";
import { toCallResult, toFailedCall, toProtocolError } from "./result.ts";
import { type CreatedTask, demandTasks, takesTasks } from "./tasks/wire.ts";

/** What is sealed with the questions of a tool: the call goes on under its id. */
const ToolState = z.strictObject({ type: z.literal("tool"), callId: z.string(), state: z.json() });
const State = z.discriminatedUnion("type", [ApprovalState, ToolState]);

/** How a call begins, and goes on. */
interface Begun {
  readonly callId: string;
  readonly approvalId?: string;
  readonly resumed?: { readonly responses: JsonObject; readonly state: Json };
}

/** tools/list: what the request's grant allows. */
export async function listTools(connection: Connection, exchange: Exchange): Promise<WireTool[]> {
  try {
    const grant = await toGrant(connection, exchange, "tools/list");
    return toOffered(connection.door.list(grant), connection.offering);
  } catch (error) {
    throw toProtocolError(error);
  }
}

/** What comes of a call: its end, questions that must be answered first, or a handle for a client that takes one. */
type Answer = CallToolResult | InputRequiredResult | CreatedTask;

/** tools/call: the door's answer. */
export async function callTool(
  connection: Connection,
  called: { readonly name: string; readonly args: JsonObject },
  exchange: Exchange,
): Promise<Answer> {
  const progress = toProgress(exchange);
  try {
    const grant = await toGrant(connection, exchange, "tools/call", called.name);
    const schema = connection.door.find(grant, called.name)?.inputSchema;
    if (schema !== undefined) exchange.demandMirrored?.(schema, called.args);
    const meant = toMeant(called, grant, connection);
    const asking = { grant, method: "tools/call" as const, ...meant };
    return await callUnder(connection, asking, exchange, progress);
  } catch (thrown) {
    if (thrown instanceof ProtocolError) throw thrown;
    const refusal = toCapstanError(thrown);
    exchange.onRefused?.(refusal.code, toText(refusal));
    return toFailedCall(refusal);
  } finally {
    progress.end();
  }
}

async function callUnder(
  connection: Connection,
  asking: Asking,
  exchange: Exchange,
  progress: ProgressReport,
): Promise<Answer> {
  const { door, questions, tasks } = connection;
  const { grant, name, args } = asking;
  const { principal, scope } = grant;
  const begun = await begin(connection, asking, exchange);
  const { callId } = begun;
  const caller = { principal, scope, grant, taint: await taintOf(connection, grant), depth: 0 };
  const { signal, can, log } = exchange;
  let outcome: Outcome;
  let taint: Taint;
  try {
    const report = progress.report.bind(progress);
    const answerer = toCallAnswerer(connection, exchange);
    const request = { caller, name, args, ...begun, signal, progress: report, log, answerer };
    const result = takesTasks(exchange) ? await tasks.call(request) : await door.call(request);
    if ("taskId" in result) return result;
    ({ outcome, taint } = result);
    await addTaint(connection, grant, taint);
  } catch (thrown) {
    const { code, message } = toCapstanError(thrown);
    const asks = code === "permission.approval_needed" && can.form;
    const question = asks ? toApprovalQuestion(connection, asking, callId, message) : null;
    if (question === null) throw thrown;
    return questions.ask(asking, [question.request], question.state);
  }
  if (outcome.type === "done") {
    if (outcome.code === "task.needed" && exchange.gone === undefined) demandTasks(exchange);
    return toCallResult(await toOfferedOutcome(outcome, { grant, name, callId, taint }, connection));
  }
  demandAnswerable(outcome.requests, exchange);
  return questions.ask(asking, outcome.requests, { type: "tool", callId, state: outcome.state });
}

/** The client of a call. One that answers while the call is open can be asked about the calls inside it, and approve them. */
function toCallAnswerer(connection: Connection, exchange: Exchange): Answerer {
  const { ask, can } = exchange;
  const answerer = toAnswerer(exchange);
  if (ask === undefined) return answerer;
  return {
    ...answerer,
    now: {
      ask,
      async approve(call, signal) {
        return can.form ? await approveNow(connection, call, (request) => ask([request], signal)) : null;
      },
    },
  };
}

/** A new call; or, where the request carries answers, the call that they are for. */
async function begin(connection: Connection, asking: Asking, exchange: Exchange): Promise<Begun> {
  try {
    const answered = await connection.questions.answer(asking, exchange);
    return answered === null ? { callId: newId("call") } : await goOn(connection, asking, answered);
  } catch (thrown) {
    const { grant, method, name } = asking;
    await connection.recordRefusal({ action: method, name, grant, code: toCapstanError(thrown).code });
    throw thrown;
  }
}

async function goOn(connection: Connection, asking: Asking, { state, responses }: Answered): Promise<Begun> {
  const sealed = State.parse(state);
  const { callId } = sealed;
  if (sealed.type === "tool") return { callId, resumed: { responses, state: sealed.state } };
  return { callId, approvalId: await takeApproval(connection, asking, sealed, responses) };
}

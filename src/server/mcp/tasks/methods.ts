import { z } from "zod";
import { toCapstanError, toText } from "../../../core/error.ts";
import type { JsonObject } from "../../../core/json.ts";
import { isJsonObject } from "../../../core/json.ts";
import { addTaint, type Connection, taintOf, toGrant } from "../connection.ts";
import type { Exchange } from "../exchange.ts";
import { fitParams, type Methods } from "../methods.ts";
import { toProtocolError } from "../result.ts";
import { demandTasks } from "./wire.ts";
import type { TaskHolder } from "./work.ts";

const TaskId = z.string().max(128);
const OfTask = z.looseObject({ taskId: TaskId });
const Update = z.looseObject({ taskId: TaskId, inputResponses: z.custom<JsonObject>(isJsonObject) });

/** The methods of the extension Tasks, of the modern era alone. */
export const taskMethods: Methods = {
  "tasks/get": async (connection, params, exchange) => {
    demandTasks(exchange);
    const { taskId } = fitParams(OfTask, params, "{taskId} with a text");
    return await answer(connection, exchange, { action: "tasks/get", name: taskId }, async (holder) => {
      const { task, taint } = await connection.tasks.get(holder, taskId);
      await addTaint(connection, holder.caller.grant, taint);
      return task;
    });
  },
  "tasks/update": async (connection, params, exchange) => {
    demandTasks(exchange);
    const { taskId, inputResponses } = fitParams(Update, params, "{taskId, inputResponses} with a text and an object");
    return await answer(connection, exchange, { action: "tasks/update", name: taskId }, async (holder) => {
      await connection.tasks.update(holder, taskId, inputResponses);
      return {};
    });
  },
  "tasks/cancel": async (connection, params, exchange) => {
    demandTasks(exchange);
    const { taskId } = fitParams(OfTask, params, "{taskId} with a text");
    return await answer(connection, exchange, { action: "tasks/cancel", name: taskId }, async (holder) => {
      await connection.tasks.cancel(holder, taskId);
      return {};
    });
  },
};

/** Answers for the holder of the request's grant; a refusal is on record. */
async function answer(
  connection: Connection,
  exchange: Exchange,
  asked: { readonly action: string; readonly name: string },
  act: (holder: TaskHolder) => Promise<object>,
): Promise<object> {
  try {
    const grant = await toGrant(connection, exchange, asked.action, asked.name);
    const { principal, scope } = grant;
    const caller = { principal, scope, grant, taint: await taintOf(connection, grant), depth: 0 };
    return await act({ caller, can: exchange.can }).catch(async (thrown: unknown) => {
      await connection.recordRefusal({ ...asked, grant, code: toCapstanError(thrown).code });
      throw thrown;
    });
  } catch (thrown) {
    const refusal = toCapstanError(thrown);
    exchange.onRefused?.(refusal.code, toText(refusal));
    throw toProtocolError(thrown);
  }
}

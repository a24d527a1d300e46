import { CLIENT_CAPABILITIES_META_KEY, MissingRequiredClientCapabilityError } from "@modelcontextprotocol/server";
import type { Json, JsonObject } from "../../../core/json.ts";
import { isJsonObject } from "../../../core/json.ts";
import type { Answerer } from "../../../tools/tool.ts";
import type { Exchange } from "../exchange.ts";
import { type KeptTask, type Phase, ttlMs } from "./records.ts";

/** The name of the extension (2026-07-28, extension Tasks), in the capabilities of both sides. */
export const tasksExtension = "io.modelcontextprotocol/tasks";

/** How often a client should ask. */
const pollIntervalMs = 1_000;

/** A task as its handle shows it. */
interface WireTask {
  readonly taskId: string;
  readonly status: "working" | "input_required" | "completed" | "failed" | "cancelled";
  readonly statusMessage?: string;
  readonly createdAt: string;
  readonly lastUpdatedAt: string;
  readonly ttlMs: number;
  readonly pollIntervalMs: number;
}

/** What came of a call that was let go: its handle (CreateTaskResult). */
export interface CreatedTask extends WireTask {
  readonly resultType: "task";
}

/** Whether the client takes a handle instead of an end: it says so with each request (extension Tasks, Capability Negotiation). */
export function takesTasks({ meta, gone }: Exchange): boolean {
  const capabilities = gone === undefined ? meta?.[CLIENT_CAPABILITIES_META_KEY] : undefined;
  const extensions = isJsonObject(capabilities) ? capabilities["extensions"] : undefined;
  return isJsonObject(extensions) && isJsonObject(extensions[tasksExtension]);
}

/** Throws -32021 for a client that does not say with this request that it knows tasks. */
export function demandTasks(exchange: Exchange): void {
  if (takesTasks(exchange)) return;
  const requiredCapabilities = { extensions: { [tasksExtension]: {} } };
  throw new MissingRequiredClientCapabilityError({ requiredCapabilities });
}

/** The handle of a task that has just begun. */
export function toCreated(task: KeptTask): CreatedTask {
  return { resultType: "task", ...toHandle(task, "working", task.message) };
}

/**
 * A task with all that its status brings (DetailedTask). A question that this client can't be asked is left out; where none is left, the
 * task works as far as the client is concerned.
 */
export function toDetailed(task: KeptTask, can: Answerer["can"], message: string | undefined, result: Json): object {
  const { phase } = task;
  switch (phase.type) {
    case "working":
      return toHandle(task, "working", message);
    case "waiting": {
      const inputRequests = toInputRequests(phase, can);
      if (Object.keys(inputRequests).length === 0) return toHandle(task, "working", message);
      return { ...toHandle(task, "input_required", message), inputRequests };
    }
    case "failed":
      return { ...toHandle(task, "failed", phase.error.message), error: phase.error };
    case "completed":
      return { ...toHandle(task, "completed"), result };
    default:
      return toHandle(task, "cancelled");
  }
}

function toInputRequests({ questions }: Extract<Phase, { type: "waiting" }>, can: Answerer["can"]): JsonObject {
  return Object.fromEntries(questions.filter(({ type }) => can[type]).map(({ key, wire }) => [key, wire]));
}

function toHandle(task: KeptTask, status: WireTask["status"], statusMessage?: string): WireTask {
  const { taskId, createdAt, updatedAt } = task;
  return {
    taskId,
    status,
    ...(statusMessage === undefined ? {} : { statusMessage }),
    createdAt: new Date(createdAt).toISOString(),
    lastUpdatedAt: new Date(updatedAt).toISOString(),
    ttlMs,
    pollIntervalMs,
  };
}

import { setTimeout as sleep } from "node:timers/promises";
import { type Message, type Peer, envelope } from "./peer.ts";

const tasks = { extensions: { "io.modelcontextprotocol/tasks": {} } };

/** A client of the modern era that takes handles, over a raw peer. Each answer is the whole message, of a result or an error. */
export interface TaskClient {
  call(name: string, args?: object): Promise<Message>;
  /** Calls and answers with the task's id; anything but a handle fails. */
  begin(name: string, args?: object): Promise<string>;
  get(taskId: string): Promise<Message>;
  update(taskId: string, inputResponses: object): Promise<Message>;
  cancel(taskId: string): Promise<Message>;
  /** Asks until the task has one of the statuses. */
  until(taskId: string, ...statuses: readonly string[]): Promise<NonNullable<Message["result"]>>;
}

/** `capabilities` beside the extension; forms unless told otherwise. `meta` stands beside the envelope. */
export function toTaskClient(peer: Peer, capabilities: object = { elicitation: {} }, meta: object = {}): TaskClient {
  const request = (method: string, params: object): Promise<Message> =>
    peer.request(method, { ...params, _meta: { ...envelope({ ...capabilities, ...tasks }), ...meta } });
  const client: TaskClient = {
    call: (name, args = {}) => request("tools/call", { name, arguments: args }),
    async begin(name, args) {
      const { result, error } = await client.call(name, args);
      if (result?.["resultType"] === "task") return String(result["taskId"]);
      throw new Error(`That is no handle: ${JSON.stringify(result ?? error)}`);
    },
    get: (taskId) => request("tasks/get", { taskId }),
    update: (taskId, inputResponses) => request("tasks/update", { taskId, inputResponses }),
    cancel: (taskId) => request("tasks/cancel", { taskId }),
    async until(taskId, ...statuses) {
      for (const end = Date.now() + 60_000; ; await sleep(20)) {
        const { result, error } = await client.get(taskId);
        const status = String(result?.["status"]);
        if (result !== undefined && statuses.includes(status)) return result;
        const isOver = error !== undefined || ["completed", "failed", "cancelled"].includes(status);
        if (isOver || Date.now() > end) throw new Error(`It never was: ${JSON.stringify(result ?? error)}`);
      }
    },
  };
  return client;
}

/** The keys of the questions that a task asks. */
export function keysOf({ inputRequests }: NonNullable<Message["result"]>): readonly string[] {
  return typeof inputRequests === "object" && inputRequests !== null ? Object.keys(inputRequests) : [];
}

import { z } from "zod";
import { CapstanError, toCapstanError } from "../../../core/error.ts";
import { newId } from "../../../core/id.ts";
import type { Json } from "../../../core/json.ts";
import { canonicalJson, sha256 } from "../../../core/json.ts";
import type { Principal, Scope } from "../../../core/scope.ts";
import type { Grant } from "../../../permissions/grant.ts";
import type { RecordWrite, Store, StoredRecord } from "../../../store/store.ts";

/** How long a task is kept, from its beginning. */
export const ttlMs = 24 * 60 * 60 * 1000;
/** As many tasks as one principal may have at a time, those that have ended included. */
const maxTasks = 500;
const maxTries = 10;
const kind = "task";

const JsonValue: z.ZodType<Json> = z.json();
const JsonObject = z.record(z.string(), JsonValue);

/** A question of a task, as it goes out under `key`, which no other question of the task ever has. `id` is the tool's own name for it. */
const Question = z.strictObject({
  key: z.string(),
  id: z.string(),
  type: z.enum(["form", "url", "sampling", "roots"]),
  wire: JsonObject,
});

/**
 * How far a task is. `working`: with a state, another process can take the call up. `waiting`: `durable` means that it may be taken up
 * before its questions are answered, too. `completed`: the record's bytes are the result.
 */
const Phase = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("working"), state: JsonValue.exactOptional() }),
  z.strictObject({
    type: z.literal("waiting"),
    state: JsonValue,
    durable: z.boolean(),
    /** Those that are open. */
    questions: z.array(Question),
    /** The answers that have come, by the tool's names. */
    responses: JsonObject,
  }),
  z.strictObject({ type: z.literal("completed") }),
  z.strictObject({
    type: z.literal("failed"),
    error: z.strictObject({ code: z.int(), message: z.string(), data: JsonValue.exactOptional() }),
  }),
  z.strictObject({ type: z.literal("cancelled") }),
]);
export type Phase = z.infer<typeof Phase>;

/** What a task is: one call at the door that its caller has let go of. Times are ms since the epoch. */
const Task = z.strictObject({
  /** The grant that it was begun under, and all above that. */
  lineage: z.array(z.string()),
  name: z.string(),
  args: JsonObject,
  callId: z.string(),
  createdAt: z.int(),
  updatedAt: z.int(),
  /** The process that works on it, which has to say again before `until` that it lives; null: none does. */
  lease: z.strictObject({ worker: z.string(), until: z.int() }).nullable(),
  /** What it last said of itself. */
  message: z.string().exactOptional(),
  /** The keys of all questions that there were. */
  keys: z.array(z.string()),
  /** Where untrusted parts of what its caller gets came from. */
  taint: z.array(z.string()),
  phase: Phase,
});
type Task = z.infer<typeof Task>;

/** As much of it as sweeping needs, since there are many. */
const Begun = z.object({ createdAt: z.int() });

/** A task as it is kept. */
export interface KeptTask extends Task {
  readonly taskId: string;
  readonly version: number;
  /** Under which the store has the result. */
  readonly blob?: string;
}

/** A change of a task: what becomes of it, and the bytes of its result. */
export interface TaskChange extends Partial<Task> {
  readonly bytes?: Uint8Array;
}

/** Whose tasks: those of others do not exist. */
interface TaskOwner {
  readonly scope: Scope;
  readonly principal: Principal;
}

/** The tasks of all principals, in the store. What has ended stays as it is. */
export interface TaskRecords {
  /** Begins a task, durably. Throws `task.too_many`. */
  begin(grant: Grant, about: Pick<Task, "name" | "args" | "callId" | "lease" | "phase">): Promise<KeptTask>;
  /** null: there is none, or not any more. */
  load(owner: TaskOwner, taskId: string): Promise<KeptTask | null>;
  /** Changes a task from what it is at that moment; null where there is none, where it has ended, and where `change` wants none. */
  change(owner: TaskOwner, taskId: string, change: (task: KeptTask) => TaskChange | null): Promise<KeptTask | null>;
}

export function openTaskRecords(store: Store, now: () => number): TaskRecords {
  /** One beginning at a time in this process, so that none is counted too late. */
  let last: Promise<unknown> = Promise.resolve();
  const isOver = ({ createdAt }: Pick<Task, "createdAt">): boolean => createdAt + ttlMs <= now();

  /** Deletes what is too old, and throws `task.too_many` where that leaves no room. */
  async function sweep(owner: TaskOwner): Promise<void> {
    const { scope } = owner;
    const records = await store.records(scope, kind, { prefix: toPrefix(owner) });
    const old = records.filter((record) => isOver(Begun.parse(record.value)));
    if (old.length > 0) await store.commit({ scope, records: old.map(({ key }) => ({ kind, key })) });
    if (records.length - old.length < maxTasks) return;
    throw new CapstanError(
      "task.too_many",
      `${maxTasks} tasks are kept already, the most for one user. They go ${ttlMs / 3_600_000} hours after they were begun.`,
    );
  }

  async function beginNow(grant: Grant, about: Parameters<TaskRecords["begin"]>[1]): Promise<KeptTask> {
    await sweep(grant);
    const taskId = newId("task");
    const at = now();
    const task: Task = { ...about, lineage: toLineage(grant), createdAt: at, updatedAt: at, keys: [], taint: [] };
    await store.commit({ scope: grant.scope, records: [toWrite(grant, taskId, task, 0)] });
    return { ...task, taskId, version: 1 };
  }

  async function load(owner: TaskOwner, taskId: string): Promise<KeptTask | null> {
    const record = await store.record(owner.scope, kind, toKey(owner, taskId));
    const task = record === null ? null : toKept(record, taskId);
    return task === null || isOver(task) ? null : task;
  }

  return {
    async begin(grant, about) {
      const begun = last.then(() => beginNow(grant, about));
      last = begun.catch(() => {});
      return await begun;
    },

    load,

    async change(owner, taskId, change) {
      for (let tries = 1; ; tries++) {
        const before = await load(owner, taskId);
        const changed = before === null || hasEnded(before) ? null : change(before);
        if (before === null || changed === null) return null;
        const { taskId: _id, version, ...task } = before;
        const { bytes, ...over } = changed;
        const after: Task = { ...task, ...(over.phase === undefined ? {} : { updatedAt: now() }), ...over };
        try {
          await store.commit({ scope: owner.scope, records: [toWrite(owner, taskId, after, version, bytes)] });
          return { ...after, taskId, version: version + 1 };
        } catch (thrown) {
          if (toCapstanError(thrown).code !== "store.conflict" || tries === maxTries) throw thrown;
        }
      }
    },
  };
}

/** Whether nothing changes a task any more. */
export function hasEnded({ phase }: Pick<Task, "phase">): boolean {
  return phase.type !== "working" && phase.type !== "waiting";
}

function toLineage({ id, met = [], ancestors }: Grant): string[] {
  return [...new Set([id, ...met, ...ancestors.map((above) => above.id)])];
}

/** Keys begin with whose task it is, so that an id of somebody else's is not found. */
const toPrefix = ({ principal }: TaskOwner): string => `${sha256(canonicalJson(principal)).slice(0, 32)}/`;
const toKey = (owner: TaskOwner, taskId: string): string => `${toPrefix(owner)}${taskId}`;

function toWrite(owner: TaskOwner, taskId: string, task: Task, ifVersion: number, bytes?: Uint8Array): RecordWrite {
  const value: Json = JSON.parse(JSON.stringify(task));
  return { kind, key: toKey(owner, taskId), value, ifVersion, ...(bytes === undefined ? {} : { bytes }) };
}

function toKept({ value, version, blob }: StoredRecord, taskId: string): KeptTask {
  return { ...Task.parse(value), taskId, version, ...(blob === undefined ? {} : { blob }) };
}

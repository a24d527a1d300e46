import { CapstanError } from "../../../core/error.ts";
import type { Json, JsonObject } from "../../../core/json.ts";
import type { Taint } from "../../../core/taint.ts";
import type { Grant } from "../../../permissions/grant.ts";
import { toFailure } from "./ends.ts";
import { hasEnded, type KeptTask, openTaskRecords, type Phase, type TaskChange } from "./records.ts";
import { toDetailed } from "./wire.ts";
import { openTasksWork, type TaskHolder, type TaskServices, type TasksWork } from "./work.ts";

/** How often a waiting task is taken up when its client asks, to see whether it goes on without the client's answer. */
const lookMs = 10_000;

/** The calls of a server's clients that outlive the requests that made them. A task that is not the asker's own does not exist. */
export interface Tasks extends Pick<TasksWork, "call" | "end"> {
  /** How a task stands, and where untrusted parts of that came from. What no process works on is taken up. Throws `task.unknown`. */
  get(holder: TaskHolder, taskId: string): Promise<{ readonly task: object; readonly taint: Taint }>;
  /** Takes answers to the questions that are open; others are ignored. Throws `task.unknown`. */
  update(holder: TaskHolder, taskId: string, responses: JsonObject): Promise<void>;
  /** Ends a task; one that has ended stays as it is. Throws `task.unknown`. */
  cancel(holder: TaskHolder, taskId: string): Promise<void>;
}

/**
 * Opens the tasks of a server (2026-07-28, extension Tasks), whose process was started with the grant `own`. All that is known of them is
 * in the store, so that any process of the home answers for any task.
 */
export function openTasks(services: TaskServices & { readonly own: Grant }): Tasks {
  const { store, permissions, own } = services;
  const now = (): number => permissions.now();
  const records = openTaskRecords(store, now);
  const work = openTasksWork(services, records);
  // The operator's own grant is made anew with each process, and all other grants come of it.
  const operator = own.ancestors.length === 0 ? own.id : null;

  /** Of one principal, a grant has the tasks that were begun under itself and under grants that were derived from it. */
  async function find({ caller: { grant } }: TaskHolder, taskId: string): Promise<KeptTask> {
    const task = await records.load(grant, taskId);
    const { met = [grant.id] } = grant;
    if (task !== null && met.every((id) => id === operator || task.lineage.includes(id))) return task;
    throw new CapstanError("task.unknown", "There is no task of this id, or not any more. Begin it again.");
  }

  /** Takes up the call behind a task that nobody works on, as far as it can go on. */
  async function lookAfter(holder: TaskHolder, task: KeptTask): Promise<void> {
    if (hasEnded(task) || work.isWorkedOn(task)) return;
    const { phase, taskId, version, updatedAt } = task;
    const state = toDurableState(phase);
    if (phase.type === "waiting" && isAnswered(phase)) {
      // With its process an entry is lost: only where the state is durable may there be another one, which asks again.
      const change: TaskChange = { phase: { type: "working", ...(state === undefined ? {} : { state }) } };
      await work.takeUp(holder, task, { responses: phase.responses, state: phase.state }, change);
    } else if (state !== undefined) {
      const isDue = phase.type === "working" || updatedAt + lookMs <= now();
      if (isDue) await work.takeUp(holder, task, { responses: {}, state });
    } else if (phase.type === "working") {
      const lost = toFailure(new CapstanError("core.interrupted", lostText));
      await records.change(holder.caller, taskId, (current) => (current.version === version ? lost : null));
    }
  }

  async function readResult({ phase, blob = "" }: KeptTask): Promise<Json> {
    if (phase.type !== "completed") return null;
    const bytes = await store.blob(blob);
    if (bytes !== null) return JSON.parse(Buffer.from(bytes).toString("utf8"));
    throw new CapstanError("store.corrupt", "The result of the task is missing. Restore the store from a backup.");
  }

  return {
    call: (request) => work.call(request),

    async get(holder, taskId) {
      await lookAfter(holder, await find(holder, taskId));
      const task = await find(holder, taskId);
      const detailed = toDetailed(task, holder.can, work.messageOf(task), await readResult(task));
      return { task: detailed, taint: task.taint };
    },

    async update(holder, taskId, responses) {
      await find(holder, taskId);
      const task = await records.change(holder.caller, taskId, (current) => toAnswered(current, responses));
      if (task !== null) await lookAfter(holder, task);
    },

    async cancel(holder, taskId) {
      const task = await find(holder, taskId);
      const isWorkedOn = work.isWorkedOn(task);
      const cancelled: TaskChange = { phase: { type: "cancelled" }, lease: null };
      if ((await records.change(holder.caller, taskId, () => cancelled)) === null) return;
      const state = toDurableState(task.phase);
      if (!work.abort(taskId) && !isWorkedOn && state !== undefined) work.windDown(holder, task, state);
    },

    end: () => work.end(),
  };
}

const lostText = "The server stopped while the call ran. Whether it took effect is not known.";

type Waiting = Extract<Phase, { type: "waiting" }>;

const isAnswered = ({ questions, responses }: Waiting): boolean =>
  questions.length === 0 && Object.keys(responses).length > 0;

/** The state that the call behind a task can be taken up with at any time; undefined where there is none. */
function toDurableState(phase: Phase): Json | undefined {
  if (phase.type === "working") return phase.state;
  return phase.type === "waiting" && phase.durable ? phase.state : undefined;
}

/** The task with the answers to what is open; null where none of them is. */
function toAnswered({ phase }: KeptTask, given: JsonObject): TaskChange | null {
  if (phase.type !== "waiting") return null;
  const isGiven = ({ key }: Waiting["questions"][number]): boolean => Object.hasOwn(given, key);
  const answers = phase.questions.filter(isGiven).map(({ id, key }) => [id, given[key] ?? null]);
  if (answers.length === 0) return null;
  const questions = phase.questions.filter((question) => !isGiven(question));
  return { phase: { ...phase, questions, responses: { ...phase.responses, ...Object.fromEntries(answers) } } };
}

import { z } from "zod";
import { CapstanError } from "../../../core/error.ts";
import { newId } from "../../../core/id.ts";
import type { Json } from "../../../core/json.ts";
import type { Permissions } from "../../../permissions/permissions.ts";
import type { Store } from "../../../store/store.ts";
import type { Caller, CallRequest, CallResult, Door } from "../../../tools/call.ts";
import type { Answerer, Resumed } from "../../../tools/tool.ts";
import type { Offering } from "../offering.ts";
import { toEnd, toFailure } from "./ends.ts";
import type { KeptTask, TaskChange, TaskRecords } from "./records.ts";
import { type CreatedTask, toCreated } from "./wire.ts";

/** How often a process says that it lives, and looks whether it still is to work on a task. */
const beatMs = 2_000;
/** After how long a process that says nothing counts as dead. */
const leaseMs = 3 * beatMs;

export interface TaskServices {
  readonly door: Door;
  readonly permissions: Permissions;
  readonly store: Store;
  readonly offering?: Offering | undefined;
  readonly onFault: (fault: unknown) => void;
}

/** Who asks about a task, and what its client can be asked. */
export interface TaskHolder {
  readonly caller: Caller;
  readonly can: Answerer["can"];
}

/** One entry into a call that its caller has let go of, or may yet. */
interface Work {
  readonly holder: TaskHolder;
  readonly ending: AbortController;
  message: string | undefined;
}

/** What this process works on: the calls themselves, of which the store knows how they stand. */
export interface TasksWork {
  /** Makes a call, and answers with its end, or with a handle as soon as the tool lets its caller go. Throws as the door does. */
  call(request: CallRequest): Promise<CallResult | CreatedTask>;
  /**
   * Takes a call up with `change`, where nobody has meanwhile; what comes of that is on record later. Throws what the door says to such a
   * call of this caller.
   */
  takeUp(holder: TaskHolder, task: KeptTask, resumed: Resumed, change?: TaskChange): Promise<void>;
  /** Gives up a call that nobody works on: what its state names is ended. */
  windDown(holder: TaskHolder, task: KeptTask, state: Json): void;
  /** Ends the work on a task; false where this process does none. */
  abort(taskId: string): boolean;
  /** Whether some process works on a task, as far as is known. */
  isWorkedOn(task: KeptTask): boolean;
  /** What a task says of itself now. */
  messageOf(task: KeptTask): string | undefined;
  /** Stops in order: what was begun can be taken up by another process. Resolves when nothing runs any more. */
  end(): Promise<void>;
}

export function openTasksWork(services: TaskServices, records: TaskRecords): TasksWork {
  const { door, permissions, onFault } = services;
  const worker = newId("worker");
  const works = new Map<string, Work>();
  const running = new Set<Promise<void>>();
  const stop = new AbortController();
  let beating: NodeJS.Timeout | undefined;

  const toLease = () => ({ worker, until: permissions.now() + leaseMs });
  const isOurs = ({ lease }: KeptTask): boolean => lease?.worker === worker;

  async function callNow(request: CallRequest): Promise<CallResult | CreatedTask> {
    const { caller, answerer } = request;
    const work = toWork({ caller, can: answerer?.can ?? nothing });
    const handle = Promise.withResolvers<KeptTask | null>();
    let beginning: Promise<KeptTask> | undefined;

    async function detach(state?: Json): Promise<void> {
      if (beginning !== undefined) return await keepState(caller, await beginning, state);
      beginning = begin(request, state);
      handle.resolve(await beginning);
    }

    using untilThen = new DisposableStack();
    // Until there is a handle, a client that goes away ends its call, and hears what it logs.
    untilThen.use(follow(request.signal, work.ending));
    let isHeard = true;
    untilThen.defer(() => {
      isHeard = false;
    });
    const log: CallRequest["log"] = (entry) => (isHeard ? request.log?.(entry) : undefined);
    const entry = enter(work, { ...request, log, detach }).finally(() => handle.resolve(null));
    const task = await handle.promise;
    if (task === null) return await entry;
    track(watch(task, work, entry));
    return toCreated(task);
  }

  async function begin({ caller, name, args, callId }: CallRequest, state?: Json): Promise<KeptTask> {
    stop.signal.throwIfAborted();
    const about = { name, args: z.record(z.string(), z.json()).parse(args), callId, lease: toLease() };
    return await records.begin(caller.grant, { ...about, phase: toWorking(state) });
  }

  async function keepState({ grant }: Caller, { taskId }: KeptTask, state?: Json): Promise<void> {
    await records.change(grant, taskId, (task) => (isOurs(task) ? { phase: toWorking(state) } : null));
  }

  async function takeUp(holder: TaskHolder, task: KeptTask, resumed: Resumed, change: TaskChange = {}): Promise<void> {
    const { caller, can } = holder;
    const { taskId, version, name, args, callId } = task;
    door.check(caller, name, args);
    stop.signal.throwIfAborted();
    const claimed = await records.change(caller.grant, taskId, (now) =>
      now.version === version ? { ...change, lease: toLease() } : null,
    );
    if (claimed === null) return;
    const work = toWork(holder);
    const detach = (state?: Json): Promise<void> => keepState(caller, task, state);
    const entry = enter(work, {
      caller,
      name,
      args,
      callId,
      resumed,
      answerer: { can },
      detach,
      signal: work.ending.signal,
    });
    track(watch(claimed, work, entry));
  }

  function windDown({ caller }: TaskHolder, { name, args, callId }: KeptTask, state: Json): void {
    const resumed = { responses: {}, state, cancelled: true as const };
    track(door.call({ caller, name, args, callId, resumed, signal: stop.signal }));
  }

  async function enter(work: Work, request: CallRequest): Promise<CallResult> {
    return await door.call({
      ...request,
      signal: work.ending.signal,
      progress(progress) {
        work.message = progress.message ?? work.message;
        request.progress?.(progress);
      },
    });
  }

  /** Keeps what comes of an entry. One that was told to stop leaves the task as it stands. */
  async function watch({ taskId, name, callId }: KeptTask, work: Work, entry: Promise<CallResult>): Promise<void> {
    const { holder, ending } = work;
    const { grant } = holder.caller;
    if (stop.signal.aborted) ending.abort(stop.signal.reason);
    works.set(taskId, work);
    beating ??= setInterval(beat, beatMs).unref();
    let toChange: (now: KeptTask) => TaskChange;
    try {
      toChange = await toEnd(await entry, { grant, name, callId, can: holder.can }, services);
    } catch (thrown) {
      toChange = () => (ending.signal.aborted ? {} : toFailure(thrown));
    }
    try {
      await records.change(grant, taskId, (now) => {
        const { message = now.message } = work;
        return isOurs(now) ? { ...toChange(now), ...(message === undefined ? {} : { message }), lease: null } : null;
      });
    } finally {
      works.delete(taskId);
      if (works.size === 0) {
        clearInterval(beating);
        beating = undefined;
      }
    }
  }

  function track(work: Promise<unknown>): void {
    const done = settle(work).finally(() => running.delete(done));
    running.add(done);
  }

  async function settle(work: Promise<unknown>): Promise<void> {
    try {
      await work;
    } catch (fault) {
      onFault(fault);
    }
  }

  function beat(): void {
    for (const [taskId, work] of works) track(renew(taskId, work));
  }

  /** Another process may have cancelled the task meanwhile, or taken it up where this one was silent for too long. */
  async function renew(taskId: string, { holder, ending }: Work): Promise<void> {
    const { grant } = holder.caller;
    if ((await records.change(grant, taskId, (now) => (isOurs(now) ? { lease: toLease() } : null))) !== null) return;
    const task = await records.load(grant, taskId);
    ending.abort(task?.phase.type === "cancelled" ? undefined : stopping());
  }

  return {
    call(request) {
      const called = callNow(request);
      track(called.catch(() => {})); // It is for the caller.
      return called;
    },
    takeUp,
    windDown,
    abort(taskId) {
      works.get(taskId)?.ending.abort();
      return works.has(taskId);
    },
    isWorkedOn: ({ taskId, lease }) => works.has(taskId) || (lease !== null && lease.until > permissions.now()),
    messageOf: ({ taskId, message }) => works.get(taskId)?.message ?? message,
    async end() {
      stop.abort(stopping());
      for (const { ending } of works.values()) ending.abort(stop.signal.reason);
      while (running.size > 0) await Promise.all(running);
    },
  };
}

const nothing: Answerer["can"] = { form: false, url: false, sampling: false, roots: false };

function toWork(holder: TaskHolder): Work {
  return { holder, ending: new AbortController(), message: undefined };
}

function toWorking(state: Json | undefined): { type: "working"; state?: Json } {
  return { type: "working", ...(state === undefined ? {} : { state }) };
}

function follow(signal: AbortSignal, ending: AbortController): Disposable {
  const end = (): void => ending.abort(signal.reason);
  if (signal.aborted) end();
  else signal.addEventListener("abort", end, { once: true });
  return { [Symbol.dispose]: () => signal.removeEventListener("abort", end) };
}

function stopping(): CapstanError {
  return new CapstanError("core.interrupted", "The server is stopping. What was done is kept.");
}

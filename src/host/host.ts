import type { Clock } from "../core/clock.ts";
import { CapstanError } from "../core/error.ts";
import { RunLimits } from "../core/event.ts";
import type { Event, RunInput, Usage } from "../core/event.ts";
import { newId } from "../core/id.ts";
import { fit } from "../core/issue.ts";
import type { JsonObject } from "../core/json.ts";
import { redact } from "../core/redact.ts";
import type { Run, RunEnd } from "../core/run.ts";
import { foldRun } from "../core/run.ts";
import type { Principal, Scope } from "../core/scope.ts";
import type { Taint } from "../core/taint.ts";
import { mergeTaint, trusted } from "../core/taint.ts";
import { demand } from "../permissions/demand.ts";
import type { Grant, Need } from "../permissions/grant.ts";
import { meet } from "../permissions/meet.ts";
import type { Permissions } from "../permissions/permissions.ts";
import { toRunGrant } from "../permissions/run-grant.ts";
import type { RunSummary, Store } from "../store/store.ts";
import type { Door } from "../tools/call.ts";
import type { HostConfig } from "./config.ts";
import { decide } from "./decide.ts";
import { drive } from "./drive.ts";
import { beginRun, openRunLog } from "./log.ts";
import type { Provider } from "./provider.ts";
import { toModelName } from "./providers/all.ts";
import { loadRunGrant, toGrantRecord } from "./run-grant.ts";
import { sleep } from "./sleep.ts";
import { systemPrompt } from "./system-prompt.ts";
import type { RunSignal, World } from "./world.ts";

export interface HostServices {
  readonly store: Store;
  readonly door: Door;
  readonly permissions: Permissions;
  readonly clock: Clock;
  readonly scope: Scope;
  /** Whose runs these are: those of others do not exist here. */
  readonly principal: Principal;
  readonly config: HostConfig;
  /** The provider of a model as `--model` names it. Throws `provider.*`. */
  readonly openProvider: (model: string, baseUrl?: string) => Provider;
  /** Gets what no run may show, such as a fault inside a provider. Missing: it is dropped. Must not throw. */
  readonly onFault?: World["onFault"];
  /** How a retry waits; missing: on the clock of the machine. */
  readonly sleep?: World["sleep"];
}

/** What driving a run needs from whoever starts or resumes it. */
interface ResumeRequest {
  readonly grant: Grant;
  /** Aborting stops in order; the run can be resumed. */
  readonly signal: AbortSignal;
  /** Aborting ends the run, as `cancel` does, by the word of whoever had it driven. */
  readonly cancelled?: AbortSignal;
  /** How many calls are nested around those of the run; missing: none. */
  readonly depth?: number;
  /** The call that started the run goes on: the right that it started with is enough. */
  readonly isStarter?: true;
  /** Must not throw. */
  readonly onSignal?: (signal: RunSignal) => void;
}

export interface StartRequest extends ResumeRequest {
  readonly task: string;
  /** Text that came with the task, such as stdin: data, never instructions, and tainted `stdin`. */
  readonly context?: string;
  /** As in `--model`. */
  readonly model: string;
  readonly baseUrl?: string;
  /** Each missing one is the config's. */
  readonly limits?: Readonly<Partial<RunLimits>>;
  /** The id that the run gets, from `newId("run")`; missing: a new one. */
  readonly runId?: string;
  /** What its starter has seen, beyond what stands on record of the grant. */
  readonly taint?: Taint;
  /** The call of another run that this one belongs to. */
  readonly parent?: { readonly runId: string; readonly callId: string };
}

/** A call that waits for a person. */
interface PendingCall {
  readonly callId: string;
  readonly name: string;
  readonly args: JsonObject;
  readonly question: string;
}

/**
 * How driving a run ended. `refused`: policy refused every call of the last turn that had calls, and nothing came after. `limit`: a
 * limit of the run or a budget of its grant. `cancelled`: by a person's word, or interrupted (`core.interrupted`), which can be
 * resumed. `suspended`: waits for an answer to each of `pending`.
 */
export interface RunOutcome {
  readonly runId: string;
  readonly status: RunEnd["status"] | "suspended";
  /** The model's last text; may be empty where the run is not done. */
  readonly answer: string;
  /** Why the run is not done, and in a sentence. */
  readonly code?: string;
  readonly message?: string;
  readonly pending: readonly PendingCall[];
  readonly turns: number;
  readonly toolCalls: number;
  readonly usage: Usage;
  readonly costMicroUsd: number;
  /** Time in which the run was driven, waiting for people not counted. */
  readonly wallMs: number;
  /** Where untrusted parts of what the run saw came from. */
  readonly taint: Taint;
}

interface RunLine {
  readonly runId: string;
  readonly task: string;
  readonly model: string;
  /** `running`: being driven somewhere, or crashed. */
  readonly status: Run["status"];
  readonly startedAt: number;
  readonly updatedAt: number;
}

/**
 * Runs: tasks that a model does with the tools behind the door. Whoever reads runs for somebody else than the operator demands the
 * right to it first (`{ type: "run", action: "read" }`); the methods that take a grant demand what they need themselves.
 */
export interface Host {
  /** Starts a run and drives it. Throws `permission.*`, `token.*`, `provider.unknown`, `usage.bad_option`; later failures are outcomes. */
  start(request: StartRequest): Promise<RunOutcome>;
  /**
   * Drives a run on from where its log ends, under what the present grant and the recorded one both allow. One that still waits for
   * a person is left as it is. Throws `run.not_found`, `run.finished`, `store.conflict` when it is driven elsewhere.
   */
  resume(runId: string, request: ResumeRequest): Promise<RunOutcome>;
  /** Approves the exact call that waits. Throws `run.not_waiting`, `permission.no_right`. The run goes on with `resume`. */
  approve(runId: string, callId: string, approver: Grant): Promise<void>;
  /** Refuses a call that waits; the model reads the reason. Throws as `approve` does. */
  deny(runId: string, callId: string, reason: string, grant: Grant): Promise<void>;
  /** Ends a run by a person's word: at once where it is driven, else when it is resumed. Throws `run.finished`. */
  cancel(runId: string, reason: string, grant: Grant): Promise<void>;
  /** Newest first. */
  list(limit: number): Promise<readonly RunLine[]>;
  /** Throws `run.not_found`, `run.corrupt`. */
  load(runId: string): Promise<{ readonly run: Run; readonly events: readonly Event[] }>;
  /** Throws `run.not_found`. */
  events(runId: string): AsyncIterable<Event>;
  /** A run as lines of JSON: a header, then its events. It holds no grant and no approval that counts elsewhere. */
  exportRun(runId: string): AsyncIterable<string>;
}

export function openHost(services: HostServices): Host {
  const { store, permissions, scope, config } = services;
  const driven = new Set<string>();

  async function start(request: StartRequest): Promise<RunOutcome> {
    const { task, context, model, baseUrl, grant, parent, runId = newId("run") } = request;
    if (task.trim() === "") throw new CapstanError("usage.bad_option", "The task is empty. Say what is to be done.");
    demandOwn(grant);
    await demandNow(grant, [{ type: "run", action: "create" }]);
    const provider = services.openProvider(model, baseUrl);
    const limits = toLimits({ ...config.limits, ...request.limits });
    const own = toRunGrant(grant, { id: newId("grant"), runId, now: permissions.now(), limits });
    const taint = mergeTaint(request.taint ?? trusted, await permissions.taints.of(grant));
    const created = {
      type: "run.created" as const,
      task: redact(task),
      model,
      ...(baseUrl === undefined ? {} : { baseUrl }),
      system: systemPrompt,
      limits: { ...limits, parallel: Math.max(1, Math.min(limits.parallel, own.limits.parallel ?? Infinity)) },
      grantId: own.id,
      ...(taint.length === 0 ? {} : { taint: [...taint] }),
      ...(parent === undefined ? {} : { parent }),
    };
    const input: RunInput = { type: "message", text: redact(context ?? ""), taint: ["stdin"] };
    const received = context === undefined ? [] : [{ type: "input.received" as const, input }];
    const along = { records: [toGrantRecord(own, runId)] };
    const run = await beginRun({ scope, runId }, [created, ...received], along, toLogServices(request));
    return await driveOn(run, provider, own, request);
  }

  async function resume(runId: string, request: ResumeRequest): Promise<RunOutcome> {
    demandOwn(request.grant);
    await demandNow(request.grant, [{ type: "run", action: request.isStarter ? "create" : "resume", runId }]);
    const { run, recorded } = await loadOwn(runId);
    demandOpen(run);
    if (driven.has(runId)) throw new CapstanError("store.conflict", `This process already drives ${runId}.`);
    const isCancelled = request.cancelled?.aborted === true;
    if (!isCancelled && (await stillWaits(run)) && run.status === "suspended") return toOutcome(run);
    const provider = services.openProvider(run.model, run.baseUrl);
    const grant = meet(request.grant, recorded, { now: permissions.now() });
    permissions.demandLive(grant);
    const log = openRunLog(run, toLogServices(request));
    await log.append([{ type: "run.resumed", grantId: grant.id }]);
    return await driveOn(log.run(), provider, grant, request);
  }

  async function driveOn(run: Run, provider: Provider, grant: Grant, request: ResumeRequest): Promise<RunOutcome> {
    const { onSignal = () => {}, signal, cancelled, depth = 0 } = request;
    const { onFault = () => {} } = services;
    const world: World = {
      ...services,
      sleep: services.sleep ?? sleep,
      onFault,
      provider,
      model: toModelName(run.model).name,
      price: config.prices[run.model],
      maxOutputTokens: config.maxOutputTokens,
      grant,
      depth,
      onSignal,
    };
    const end = (): Promise<void> =>
      send(run.runId, { type: "cancel", reason: "Whoever started the run cancelled it." });
    const onCancelled = (): void => void end().catch(onFault);
    driven.add(run.runId);
    cancelled?.addEventListener("abort", onCancelled, { once: true });
    try {
      if (cancelled?.aborted === true) await end();
      const left = await drive(run, world, signal);
      // Whoever reads the outcome has seen what the run saw.
      await permissions.taints.add(request.grant, left.taint);
      return toOutcome(left);
    } finally {
      cancelled?.removeEventListener("abort", onCancelled);
      driven.delete(run.runId);
    }
  }

  async function approve(runId: string, callId: string, approver: Grant): Promise<void> {
    const { name, pin, args, recorded } = await loadWaiting(runId, callId);
    await demandNow(approver, []);
    const call = { principal: recorded.principal, scope, runId, callId, name, pin, args };
    const approvalId = await permissions.approvals.approve(approver, call);
    await send(runId, { type: "approval", callId, decision: "approve", approvalId });
  }

  async function deny(runId: string, callId: string, reason: string, grant: Grant): Promise<void> {
    const { name, pin, args, recorded } = await loadWaiting(runId, callId);
    await demandNow(grant, []);
    await permissions.approvals.refuse(grant, { principal: recorded.principal, scope, runId, callId, name, pin, args });
    await send(runId, { type: "approval", callId, decision: "deny", reason: redact(reason) });
  }

  async function cancel(runId: string, reason: string, grant: Grant): Promise<void> {
    demandOwn(grant);
    await demandNow(grant, [{ type: "run", action: "cancel", runId }]);
    const { run } = await loadOwn(runId);
    demandOpen(run);
    await send(runId, { type: "cancel", reason: redact(reason) });
  }

  /** An input for the run's driver, whoever that is; safe from a power cut, since a person gave it. */
  async function send(runId: string, input: RunInput): Promise<void> {
    await store.commit({ scope, inbox: [{ runId, input }], durability: "power" });
  }

  /** Runs are begun, taken up and ended by whose they are. Approving is open to others of the scope. */
  function demandOwn({ scope: place, principal }: Grant): void {
    const isPlace = place.org === scope.org && place.project === scope.project;
    if (isPlace && isSame(principal, services.principal)) return;
    throw new CapstanError("token.other_scope", "There is nothing here for this grant.");
  }

  async function demandNow(grant: Grant, needs: readonly Need[]): Promise<void> {
    await permissions.refresh();
    permissions.demandLive(grant);
    demand(grant, needs, permissions.now());
  }

  /** The run and the grant it was started with. A run of somebody else is not there. */
  async function loadOwn(runId: string): Promise<{ readonly run: Run; readonly recorded: Grant }> {
    const recorded = await loadRunGrant(store, scope, runId);
    if (!isSame(recorded.principal, services.principal)) throw notFound(runId);
    return { run: await foldRun(store.events(scope, runId)), recorded };
  }

  async function loadWaiting(runId: string, callId: string) {
    const { run, recorded } = await loadOwn(runId);
    demandOpen(run);
    const call = run.calls.get(callId);
    if (call?.state.type === "waiting") return { ...call.state, name: call.name, recorded };
    const waiting = toPending(run).map((pending) => pending.callId);
    throw new CapstanError(
      "run.not_waiting",
      `No call ${callId} of ${runId} waits for a person. Waiting: ${waiting.join(", ") || "none"}.`,
    );
  }

  /** Whether a person must answer before anything can go on, and nobody has. */
  async function stillWaits(run: Run): Promise<boolean> {
    const [command] = decide({ ...run, status: "running" });
    return command?.type === "suspend" && (await store.inbox(scope, run.runId)).length === 0;
  }

  function toLogServices({ onSignal = () => {} }: ResumeRequest) {
    return { ...services, onEvent: (event: Event) => onSignal({ type: "event", event }) };
  }

  async function* events(runId: string): AsyncGenerator<Event> {
    await loadOwn(runId);
    yield* store.events(scope, runId);
  }

  return {
    start,
    resume,
    approve,
    deny,
    cancel,
    list: async (limit) => (await store.runs(scope, limit)).map(toRunLine),
    load: async (runId) => ({
      run: (await loadOwn(runId)).run,
      events: await Array.fromAsync(store.events(scope, runId)),
    }),
    events,
    async *exportRun(runId) {
      const { run } = await loadOwn(runId);
      yield JSON.stringify({ type: "capstan.run", version: 1, runId, events: run.seq });
      for await (const event of store.events(scope, runId)) yield JSON.stringify(event);
    },
  };
}

function toLimits(limits: RunLimits): RunLimits {
  const fitted = fit(RunLimits, limits, "limits");
  if ("data" in fitted) return fitted.data;
  const problems = fitted.problems.map(({ text }) => text).join("; ");
  throw new CapstanError("usage.bad_option", `The limits of the run can't be used: ${problems}.`);
}

/** How a run stands that nobody drives. */
export function toOutcome(run: Run): RunOutcome {
  const { runId, end, lastText, turns, toolCalls, usage, costMicroUsd, taint } = run;
  const pending = toPending(run);
  const totals = { turns, toolCalls, usage, costMicroUsd, wallMs: run.activeMs, taint };
  if (end !== null) {
    const { status, answer, code, message } = end;
    const why = { ...(code === undefined ? {} : { code }), ...(message === undefined ? {} : { message }) };
    return { runId, status, answer, ...why, pending: [], ...totals };
  }
  if (run.suspendedFor === "approval") return { runId, status: "suspended", answer: lastText, pending, ...totals };
  const message = "Interrupted. What was done is kept, and the run can be resumed.";
  return { runId, status: "cancelled", answer: lastText, code: "core.interrupted", message, pending, ...totals };
}

/** The calls that wait for a person, in the model's order. */
export function toPending(run: Run): readonly PendingCall[] {
  return [...run.calls.values()].flatMap(({ callId, name, state }) =>
    state.type === "waiting" ? [{ callId, name, args: state.args, question: state.question }] : [],
  );
}

/** A run as lists show it. */
export function toRunLine({ runId, first, last }: RunSummary): RunLine {
  const { task, model } = first.type === "run.created" ? first : { task: "", model: "" };
  const status = last.type === "run.finished" ? last.status : last.type === "run.suspended" ? "suspended" : "running";
  return { runId, task, model, status, startedAt: first.at, updatedAt: last.at };
}

function demandOpen({ runId, end }: Run): void {
  if (end === null) return;
  throw new CapstanError(
    "run.finished",
    `${runId} is over (${end.status}), so nothing can change it. Start a new run.`,
  );
}

const isSame = (a: Principal, b: Principal): boolean => a.org === b.org && a.user === b.user;

function notFound(runId: string): CapstanError {
  return new CapstanError("run.not_found", `There is no run ${runId}. See \`capstan runs ls\`.`);
}

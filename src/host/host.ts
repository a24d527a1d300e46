import type { Clock } from "../core/clock.ts";
import { CapstanError, toCapstanError } from "../core/error.ts";
import type { Block, Event, ModelSettings, RunInput, RunLimits } from "../core/event.ts";
import { redact } from "../core/redact.ts";
import type { Run } from "../core/run.ts";
import { foldRun } from "../core/run.ts";
import type { Principal, Scope } from "../core/scope.ts";
import type { Taint } from "../core/taint.ts";
import { demand } from "../permissions/demand.ts";
import type { Grant, Need } from "../permissions/grant.ts";
import { meet } from "../permissions/meet.ts";
import type { Permissions } from "../permissions/permissions.ts";
import type { Store } from "../store/store.ts";
import type { Door } from "../tools/call.ts";
import { type Agents, openAgents } from "./agents/agents.ts";
import { openPlaces } from "./agents/places.ts";
import { toOpenSubRuns } from "./agents/sub-run-id.ts";
import type { Variables } from "./agents/template.ts";
import type { Bell } from "./bell.ts";
import { openBell } from "./bell.ts";
import type { HostConfig } from "./config.ts";
import type { ConversationRequest } from "./conversation.ts";
import { inConversation, rethrowConflict } from "./conversation.ts";
import { decide } from "./decide.ts";
import { drive } from "./drive.ts";
import { isToEnd, unasked } from "./ending.ts";
import type { RuleRequest } from "./guardrails/run-rules.ts";
import type { History } from "./history.ts";
import { openHistory } from "./history.ts";
import { readInbox } from "./inbox.ts";
import { lineage } from "./lineage.ts";
import { listSeen } from "./list-runs.ts";
import { beginRun, openRunLog } from "./log.ts";
import type { RunLine, RunOutcome } from "./outcome.ts";
import { toOutcome, toPending, toRunLine } from "./outcome.ts";
import type { PreparedRun } from "./prepare.ts";
import { prepareRun } from "./prepare.ts";
import type { RunPlan } from "./preview.ts";
import { toPlan } from "./preview.ts";
import type { EndpointHealth } from "./policies/all.ts";
import { withWriteRetries } from "./policies/again.ts";
import { priceOf } from "./price.ts";
import type { Provider } from "./provider.ts";
import { toModelName } from "./providers/all.ts";
import { findRunGrant, loadRunGrant, notFound, toGrantRecord } from "./run-grant.ts";
import { sleep } from "./sleep.ts";
import { toStopped } from "./stopped.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Observing, RunTrace } from "./telemetry/trace.ts";
import { openRunTrace } from "./telemetry/trace.ts";
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
  /** The home, in which the files of agents' instructions are. Missing: there are none. */
  readonly home?: string;
  /** The provider of a model as `--model` names it. Throws `provider.*`. */
  readonly openProvider: (model: string, baseUrl?: string) => Provider;
  readonly health?: Host["health"];
  /** Gets what no run may show, such as a fault inside a provider. Missing: it is dropped. Must not throw. */
  readonly onFault?: World["onFault"];
  /** The log of the process; missing: it is off. */
  readonly logger?: Logger | undefined;
  /** How a retry waits; missing: on the clock of the machine. */
  readonly sleep?: World["sleep"];
}

/** What driving a run needs from whoever starts or resumes it. */
export interface ResumeRequest {
  readonly grant: Grant;
  /** Aborting stops in order; the run can be resumed. */
  readonly signal: AbortSignal;
  /** Aborting ends the run, as `cancel` does, by the word of whoever had it driven. */
  readonly cancelled?: AbortSignal;
  /** How many calls are nested around those of the run; missing: none. */
  readonly depth?: number;
  /**
   * Who began the run, or the conversation that it is to go on with, goes on: the right that it began with is enough. What was made under
   * other grants it sees no more for that.
   */
  readonly isStarter?: true;
  /** Must not throw. */
  readonly onSignal?: (signal: RunSignal) => void;
}

export interface StartRequest extends ResumeRequest, ConversationRequest, RuleRequest {
  readonly task: string;
  /** Text that came with the task, such as stdin: data, never instructions, and tainted `stdin`. */
  readonly context?: string;
  /** Pictures that came with the task: data as well, and tainted `attachment`. */
  readonly attachments?: readonly Block[];
  /** As in `--model`. Missing: that of the agent, else of the config. */
  readonly model?: string;
  /** An agent of the config or the store, `NAME` or `NAME@VERSION`; missing: none, with all that its starter's grant holds. */
  readonly agent?: string;
  /** The values of the variables in the agent's instructions. */
  readonly variables?: Variables;
  readonly baseUrl?: string;
  /** How the model is to answer; what is missing the config says. */
  readonly settings?: ModelSettings;
  /** Each missing one is the config's. */
  readonly limits?: Readonly<Partial<RunLimits>>;
  /** The id that the run gets, from `newId("run")`; missing: a new one. */
  readonly runId?: string;
  /** What its starter has seen, beyond what stands on record of the grant. */
  readonly taint?: Taint;
  /** The call of another run that this one belongs to. */
  readonly parent?: { readonly runId: string; readonly callId: string };
}

/**
 * Runs: tasks that a model does with the tools behind the door. Whoever reads runs for somebody else than the operator demands the
 * right to it first (`{ type: "run", action: "read" }`); the methods that take a grant demand what they need themselves.
 */
export interface Host extends History {
  /** The named agents. */
  readonly agents: Agents;
  /** Starts a run and drives it. Throws `permission.*`, `token.*`, `provider.unknown`, `usage.bad_option`; later failures are outcomes. */
  start(request: StartRequest): Promise<RunOutcome>;
  /** What `start` would begin, with nothing called, charged or begun. Throws as `start` does. */
  plan(request: StartRequest): Promise<RunPlan>;
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
  /** Newest first, where a grant is given those that it sees (`maySee`). A run whose log is damaged stands among them, with what is wrong. */
  list(limit: number, grant?: Grant): Promise<readonly RunLine[]>;
  /** A run and all its events, behind those of the runs that it goes on from. Throws `run.not_found`, `run.corrupt`. */
  load(runId: string): Promise<{ readonly run: Run; readonly events: readonly Event[] }>;
  /** As `load` reads them. Throws `run.not_found`. */
  events(runId: string): AsyncIterable<Event>;
  /** How the endpoints of models stand that this process has asked lately. */
  health(): readonly EndpointHealth[];
}

export function openHost(services: HostServices): Host {
  const { store, permissions, scope, config } = services;
  const agents = openAgents({ ...services, agents: config.agents });
  const places = openPlaces(config.concurrency, config.agents);
  const driven = new Map<string, Bell>();
  const observing: Observing = { ...config.telemetry, logger: services.logger };

  async function start(request: StartRequest): Promise<RunOutcome> {
    return await begin(await prepare(request), request);
  }

  async function begin(prepared: PreparedRun, request: ResumeRequest, drives = true): Promise<RunOutcome> {
    const { runId, provider, grant, bodies, records = [], ...from } = prepared;
    using held = new DisposableStack();
    held.use(await places.enter({ runId, agent: bodies[0].agent?.name }, request));
    const bell = held.adopt(claim(runId), () => driven.delete(runId));
    const along = { records: [toGrantRecord(grant, runId), ...records] };
    using trace = await openRunTrace(request.onSignal, observing);
    const run = await beginRun({ scope, runId, ...from }, bodies, along, toLogServices(trace)).catch(rethrowConflict);
    if (!drives) return toOutcome(run);
    return await driveOn(run, provider, grant, { ...request, ...trace, bell });
  }

  async function prepare(request: StartRequest): Promise<PreparedRun> {
    await demandRights(request.grant, [{ type: "run", action: "create" }]);
    const prepared = await prepareRun(request, { ...services, agents });
    return await inConversation(prepared, request, { services, recordedOf: loadOwnGrant, demandRights });
  }

  async function resume(runId: string, request: ResumeRequest): Promise<RunOutcome> {
    await demandRights(request.grant, [{ type: "run", action: request.isStarter ? "create" : "resume", runId }]);
    const { run, recorded } = await loadOwn(runId);
    demandOpen(run);
    demandFree(runId);
    const isEnding = request.cancelled?.aborted === true || (await isToEnd(run, store));
    if (!isEnding && (await stillWaits(run)) && run.status === "suspended") return await tell(run, request);
    const provider = isEnding ? unasked : services.openProvider(run.model, run.baseUrl);
    // Each run is bound to itself: the run that started this one goes on with it as its starter.
    const { run: _, ...unbound } = request.grant;
    const grant = meet(request.isStarter ? unbound : request.grant, recorded, { now: permissions.now() });
    if (!isEnding) permissions.demandLive(grant);
    using held = new DisposableStack();
    held.use(await places.enter({ runId, agent: run.agent?.name }, request));
    const bell = held.adopt(claim(runId), () => driven.delete(runId));
    using trace = await openRunTrace(request.onSignal, observing, () => store.events(scope, runId));
    const log = openRunLog(run, toLogServices(trace));
    await log.append([{ type: "run.resumed", grantId: grant.id }]);
    return await driveOn(log.run(), provider, grant, { ...request, ...trace, bell });
  }

  function demandFree(runId: string): void {
    if (driven.has(runId)) throw new CapstanError("store.conflict", `This process already drives ${runId}.`);
  }

  /** Makes the caller the one driver of a run in this process, until it deletes the bell. Throws `store.conflict` where there is another. */
  function claim(runId: string): Bell {
    demandFree(runId);
    const bell = openBell();
    driven.set(runId, bell);
    return bell;
  }

  async function driveOn(
    run: Run,
    provider: Provider,
    grant: Grant,
    request: ResumeRequest & RunTrace & { readonly bell: Bell },
  ): Promise<RunOutcome> {
    const { onSignal, within, signal, cancelled, bell, depth = 0 } = request;
    const { onFault = () => {} } = services;
    const world: World = {
      ...toLogServices(request),
      retries: config.retries,
      onFault,
      provider,
      model: toModelName(run.model).name,
      price: priceOf(config, run.model),
      priceOf: (model) => priceOf(config, model),
      settings: config.settings,
      grant,
      depth,
      onSignal,
      within,
    };
    const end = (): Promise<void> =>
      send(run.runId, { type: "cancel", reason: "Whoever started the run cancelled it." });
    const onCancelled = (): void => void end().catch(onFault);
    cancelled?.addEventListener("abort", onCancelled, { once: true });
    let left = run;
    try {
      if (cancelled?.aborted === true) await end();
      left = await drive(run, world, signal, bell);
      if (left.end !== null) await endSubRuns(left, request);
      return await tell(left, request);
    } catch (thrown) {
      throw toStopped(thrown, left);
    } finally {
      cancelled?.removeEventListener("abort", onCancelled);
    }
  }

  /** Whoever reads the outcome has seen what the run saw: where that can't be put on record there is none. */
  async function tell(run: Run, { grant }: Pick<ResumeRequest, "grant">): Promise<RunOutcome> {
    await permissions.taints.add(grant, run.taint);
    return toOutcome(run);
  }

  /** What a run has started ends with it, also what nobody drives now. */
  async function endSubRuns(ended: Run, { grant, signal, depth = 0 }: ResumeRequest): Promise<void> {
    for (const runId of toOpenSubRuns(ended)) {
      if (driven.has(runId) || (await findRunGrant(store, scope, runId)) === null) continue;
      const over = { grant, signal, depth: depth + 1, isStarter: true as const, cancelled: AbortSignal.abort() };
      await resume(runId, over).catch((thrown: unknown) => {
        if (toCapstanError(thrown).code !== "run.finished") services.onFault?.(thrown);
      });
    }
  }

  async function approve(runId: string, callId: string, approver: Grant): Promise<void> {
    const { name, pin, args, recorded } = await loadWaiting(runId, callId, approver);
    await demandNow(approver, []);
    const call = { principal: recorded.principal, scope, runId, callId, name, pin, args };
    const approvalId = await permissions.approvals.approve(approver, call);
    await send(runId, { type: "approval", callId, decision: "approve", approvalId });
  }

  async function deny(runId: string, callId: string, reason: string, grant: Grant): Promise<void> {
    const { name, pin, args, recorded } = await loadWaiting(runId, callId, grant);
    await demandNow(grant, []);
    await permissions.approvals.refuse(grant, { principal: recorded.principal, scope, runId, callId, name, pin, args });
    await send(runId, { type: "approval", callId, decision: "deny", reason: redact(reason) });
  }

  async function cancel(runId: string, reason: string, grant: Grant): Promise<void> {
    await demandRights(grant, [{ type: "run", action: "cancel", runId }]);
    const { run } = await loadOwn(runId);
    demandOpen(run);
    await send(runId, { type: "cancel", reason: redact(reason) });
  }

  /** An input for the run's driver, whoever that is; safe from a power cut, since a person gave it. */
  async function send(runId: string, input: RunInput): Promise<void> {
    await store.commit({ scope, inbox: [{ runId, input }], durability: "power" });
    driven.get(runId)?.ring();
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

  async function demandRights(grant: Grant, needs: readonly Need[]): Promise<void> {
    demandOwn(grant);
    await demandNow(grant, needs);
  }

  /** The run and the grant it was started with. A run of somebody else is not there. */
  async function loadOwn(runId: string): Promise<{ readonly run: Run; readonly recorded: Grant }> {
    const recorded = await loadOwnGrant(runId);
    return { run: await foldRun(lineage(store, scope, runId)), recorded };
  }

  async function loadOwnGrant(runId: string): Promise<Grant> {
    const recorded = await loadRunGrant(store, scope, runId);
    if (isSame(recorded.principal, services.principal)) return recorded;
    throw notFound(runId);
  }

  /** A call that waits. Where it does not, those are named instead that the grant may decide. */
  async function loadWaiting(runId: string, callId: string, { rights }: Grant) {
    const { run, recorded } = await loadOwn(runId);
    demandOpen(run);
    const call = run.calls.get(callId);
    if (call?.state.type === "waiting") return { ...call.state, name: call.name, recorded };
    const own = toPending(run).filter((one) => rights.approve.includes(one.name));
    const waiting = own.map((one) => (one.runId === runId ? one.callId : `${one.callId} of ${one.runId}`));
    throw new CapstanError(
      "run.not_waiting",
      `No call ${callId} of ${runId} waits for a person. Waiting: ${waiting.join(", ") || "none"}.`,
    );
  }

  /** Whether a person must answer before anything can go on, and nobody has. Throws as `readInbox` does. */
  async function stillWaits(run: Run): Promise<boolean> {
    const { ids } = await readInbox(store, scope, run.runId);
    // Whether a run that it waits for goes on is seen when its call is made again.
    if (ids.length > 0 || [...run.calls.values()].some(({ state }) => state.type === "suspended")) return false;
    const [command] = decide({ ...run, status: "running" });
    return command?.type === "suspend";
  }

  function toLogServices({ onSignal }: RunTrace) {
    const again = { sleep: services.sleep ?? sleep, tell: (text: string) => onSignal({ type: "progress", text }) };
    const patient = withWriteRetries(store, { ...again, retries: config.retries.store });
    return {
      ...services,
      sleep: again.sleep,
      store: patient,
      onEvent: (event: Event) => onSignal({ type: "event", event }),
    };
  }

  async function* events(runId: string): AsyncGenerator<Event> {
    await loadOwn(runId);
    yield* lineage(store, scope, runId);
  }

  return {
    ...openHistory({ services, recordedOf: loadOwnGrant, demandRights, begin }),
    agents,
    health: services.health ?? (() => []),
    start,
    plan: async (request) => toPlan(await prepare(request), services),
    resume,
    approve,
    deny,
    cancel,
    list: async (limit, grant) =>
      grant === undefined
        ? (await store.runs(scope, limit)).map(toRunLine)
        : await listSeen(limit, grant, { store, scope, recordedOf: loadOwnGrant }),
    load: async (runId) => ({
      run: (await loadOwn(runId)).run,
      events: await Array.fromAsync(lineage(store, scope, runId)),
    }),
    events,
  };
}

function demandOpen({ runId, seq, imported, end }: Run): void {
  if (imported !== undefined) {
    const message = `${runId} was imported, so it does not go on itself. Fork it: capstan runs fork ${runId} --at ${seq}`;
    throw new CapstanError("run.imported", message);
  }
  if (end === null) return;
  throw new CapstanError(
    "run.finished",
    `${runId} is over (${end.status}), so nothing can change it. Start a new run.`,
  );
}

const isSame = (a: Principal, b: Principal): boolean => a.org === b.org && a.user === b.user;

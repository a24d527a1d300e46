import { toForkedCallId } from "../core/begin.ts";
import { counted } from "../core/counted.ts";
import { CapstanError } from "../core/error.ts";
import type { Event, EventBody, RunLimits } from "../core/event.ts";
import { newId } from "../core/id.ts";
import type { Json } from "../core/json.ts";
import { redact, redactJson } from "../core/redact.ts";
import type { Run } from "../core/run.ts";
import { applyEvent } from "../core/run.ts";
import type { Taint } from "../core/taint.ts";
import type { Grant } from "../permissions/grant.ts";
import { meet } from "../permissions/meet.ts";
import { toRunGrant } from "../permissions/run-grant.ts";
import { toContextRules } from "./context/config.ts";
import type { HostConfig } from "./config.ts";
import { toRunRules } from "./guardrails/run-rules.ts";
import { openScreenBefore } from "./guardrails/screen-before.ts";
import { screenBeginning } from "./guardrails/screen-inputs.ts";
import type { HostServices } from "./host.ts";
import type { PreparedRun } from "./prepare.ts";
import { toLimits } from "./prepare.ts";
import { systemPrompt } from "./system-prompt.ts";

/** What a fork changes of the run that it goes on from. */
export interface ForkChanges {
  /** The last event of the run that is kept, unless it is what is changed here: then the one before it. */
  readonly at: number;
  /** Said by the user after that event, or in place of it where it is a message. */
  readonly message?: string;
  /** The results of open calls, by the calls' ids in the run; also of one that ended with that event. */
  readonly results?: Readonly<Record<string, Json>>;
  /** As in `--model`; missing: the run's. */
  readonly model?: string;
  readonly baseUrl?: string;
  /** Each missing one is the run's. */
  readonly limits?: Readonly<Partial<RunLimits>>;
}

/** The run that is forked: all its events behind those that it goes on from, and the grant that it was started with. */
interface Original {
  readonly runId: string;
  readonly events: readonly Event[];
  readonly recorded: Grant;
}

/** The largest result that a person may put in place of a tool's, as JSON. */
const maxResultChars = 1024 * 1024;

/**
 * A fork before its beginning. Its grant is what the caller's and the recorded one both allow, bound to the new run. Throws
 * `usage.bad_option` for a point, a call or a result that can't be, and what `openProvider` and `meet` throw.
 */
export async function prepareFork(
  original: Original,
  changes: ForkChanges,
  grant: Grant,
  services: HostServices,
): Promise<PreparedRun> {
  const { events, recorded } = original;
  const { message, results = {} } = changes;
  const kept = upTo(events, toPoint(original, changes));
  const before = fold(kept);
  const runId = newId("run");
  const rest = toSettings(lastCreated(events), services.config);
  const limits = toLimits({ ...rest.limits, ...changes.limits });
  const model = changes.model ?? rest.model;
  const baseUrl = changes.baseUrl ?? (changes.model === undefined ? rest.baseUrl : undefined);
  const provider = services.openProvider(model, baseUrl);
  const now = services.permissions.now();
  // Each run is bound to itself: what the other one may do is met, and not that it is the other one.
  const { run: _run, ...unbound } = recorded;
  const both = meet(grant, unbound, { now });
  services.permissions.demandLive(both);
  const bound = toRunGrant(both, { id: newId("grant"), runId, now, limits });
  const given = { guardrails: rest.guardrails ?? {} };
  const around = { ...services, given: [services.config.guardrails] };
  const { grant: own, recorded: rules } = await toRunRules(given, { grant: bound }, around);
  const taint = await services.permissions.taints.of(grant);
  const { agent, settings, answerSchema } = rest;
  const created = {
    type: "run.created" as const,
    task: rest.task,
    model,
    ...(rest.system === undefined ? {} : { system: rest.system }),
    ...(agent === undefined ? {} : { agent }),
    ...(settings === undefined ? {} : { settings }),
    ...(answerSchema === undefined ? {} : { answerSchema }),
    ...rules,
    ...(baseUrl === undefined ? {} : { baseUrl }),
    limits: { ...limits, parallel: Math.max(1, Math.min(limits.parallel, own.limits.parallel ?? Infinity)) },
    grantId: own.id,
    ...(taint.length === 0 ? {} : { taint: [...taint] }),
    previous: { runId: before.runId, seq: before.seq, how: "fork" as const },
    ...toContextRules(services.config, model, provider),
  };
  const edited = Object.entries(results).map(([callId, value]) => toEdited(original, runId, before, callId, value));
  const said: EventBody[] =
    message === undefined
      ? []
      : [{ type: "input.received", input: { type: "message", text: redact(message), taint: [] } }];
  const bodies = await screenBeginning([created, ...edited, ...said], rules.guardrails);
  const screen = openScreenBefore(rules.guardrails);
  for (const event of kept) screen.see(event);
  return { runId, provider, grant: own, bodies: [...bodies, ...screen.hits()], before };
}

/** The last event that is kept. What is changed is not, so that a fork at it changes it. */
function toPoint({ runId, events }: Original, { at, message, results = {} }: ForkChanges): number {
  const own = events.filter((event) => event.runId === runId);
  const event = own[at - 1];
  if (event === undefined) {
    throw bad(`${runId} has no event ${at}: they go from 1 to ${own.length}. See \`capstan runs show ${runId}\`.`);
  }
  if (event.type === "tool.finished" && Object.hasOwn(results, event.callId)) return at - 1;
  const isMessage = event.type === "input.received" && event.input.type === "message";
  if (isMessage && message !== undefined) return at - 1;
  // What a rule found in an event is not parted from it.
  const next = own.findIndex(({ seq, type }) => seq > at && type !== "guardrail.hit");
  return next < 0 ? own.length : next;
}

function upTo(events: readonly Event[], seq: number): readonly Event[] {
  const runId = events.at(-1)?.runId;
  return events.slice(0, events.findIndex((event) => event.runId === runId && event.seq === seq) + 1);
}

function fold(events: readonly Event[]): Run {
  const run = events.reduce<Run | null>(applyEvent, null);
  if (run === null) throw new CapstanError("run.corrupt", "The log of the run is empty.");
  return run;
}

function lastCreated(events: readonly Event[]): Event & { type: "run.created" } {
  const created = events.findLast((event) => event.type === "run.created");
  if (created === undefined) throw new CapstanError("run.corrupt", "The log of the run has no beginning.");
  return created;
}

/**
 * What the run was begun with. What came in a file says nothing about how runs go here: neither whom to ask, nor by which words, rules
 * and limits.
 */
function toSettings(created: Event & { type: "run.created" }, config: HostConfig) {
  if (created.imported === undefined) return created;
  const { task } = created;
  const { model, limits } = config;
  const none = { baseUrl: undefined, agent: undefined, settings: undefined };
  return { ...none, task, model, limits, system: systemPrompt, answerSchema: undefined, guardrails: undefined };
}

/** A person's result in place of a tool's. Where the tool had an end, what came from outside with it still counts as come. */
function toEdited({ events }: Original, runId: string, before: Run, callId: string, value: Json): EventBody {
  const call = before.calls.get(callId);
  const end = events.findLast((event) => event.type === "tool.finished" && event.callId === callId);
  if (call === undefined || call.state.type === "finished") {
    const open = [...before.calls.values()].filter(({ state }) => state.type !== "finished");
    const ids = open.map((one) => `${one.callId} (${one.name})`).join(", ") || "none";
    const where = end?.runId === before.runId ? ` It ended with event ${end.seq}: fork --at ${end.seq}.` : "";
    throw bad(`No call ${callId} is open after event ${before.seq} of ${before.runId}.${where} Open there: ${ids}.`);
  }
  const { length } = JSON.stringify(value);
  if (length > maxResultChars) {
    throw bad(
      `The result of ${callId} has ${counted(length, "character")} of JSON, and ${maxResultChars} are the most.`,
    );
  }
  const taint: Taint = end?.type === "tool.finished" ? end.taint : [];
  const outcome = { value: redactJson(value), isError: false };
  return { type: "tool.finished", callId: toForkedCallId(runId, callId), outcome, taint: [...taint], edited: true };
}

const bad = (sentence: string): CapstanError => new CapstanError("usage.bad_option", sentence);

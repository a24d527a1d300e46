import type { Json } from "../core/json.ts";
import type { Amounts } from "../core/limits.ts";
import type { Principal, Scope } from "../core/scope.ts";
import type { Taint } from "../core/taint.ts";
import { mergeTaint, trusted } from "../core/taint.ts";
import { findRight } from "../permissions/demand.ts";
import type { Grant } from "../permissions/grant.ts";
import type { Permissions } from "../permissions/permissions.ts";
import type { Batch, Store } from "../store/store.ts";
import type { Admitted } from "./admit.ts";
import { admit, decideCall } from "./admit.ts";
import { toUsed } from "./amounts.ts";
import { openInFlight } from "./in-flight.ts";
import { toActs } from "./acts.ts";
import { openNested } from "./nested.ts";
import { openReading } from "./open-reading.ts";
import { cancelled, perform } from "./perform.ts";
import type { Reading } from "./reading.ts";
import type { Answerer, LogEntry, Outcome, Progress, Resumed, Tool } from "./tool.ts";
import type { Toolbox, ToolboxChange } from "./toolbox.ts";

/** Who stands at the door: an MCP client, a model in a run, code in a sandbox, or the command line. */
export interface Caller {
  readonly principal: Principal;
  readonly scope: Scope;
  readonly grant: Grant;
  /** What the caller has seen so far. */
  readonly taint: Taint;
  readonly runId?: string;
  /** How many calls are nested around this one: 0 for a client's own. */
  readonly depth: number;
}

/** What is put on record before an admitted call begins. */
export type Admission = Pick<Batch, "charges" | "audit" | "durability">;

export interface CallRequest {
  readonly caller: Caller;
  readonly name: string;
  /** As it came over the wire; the door parses it. */
  readonly args: unknown;
  /** Keys event, charge, audit row and idempotency: the same id is charged once. */
  readonly callId: string;
  readonly parentId?: string;
  /** What a call around this one has reserved; missing: nothing. */
  readonly reservedAround?: Amounts;
  readonly approvalId?: string;
  /**
   * How often its caller made it before because it failed for a passing reason. Then it is no further call, and its times are charged beside
   * those before. Missing: never.
   */
  readonly retry?: number;
  /** A call that waited goes on: it was let in before with these arguments, so it neither asks nor is charged again. */
  readonly resumed?: Resumed;
  /** Gives the caller a handle, for tools that let it go. Missing: the caller waits for the end. */
  readonly detach?: (state?: Json) => Promise<void>;
  /** Puts the admission on record, its charge and its audit row, in one transaction with what the caller keeps of it. Missing: the store. */
  readonly commit?: (admission: Admission) => Promise<void>;
  readonly signal: AbortSignal;
  readonly progress?: (progress: Progress) => void;
  readonly log?: (entry: LogEntry) => void;
  /** Missing: nobody answers what the call asks. */
  readonly answerer?: Answerer;
}

/** What came back, and where untrusted parts of it came from: the caller adds `taint` to its own. */
export interface CallResult {
  readonly outcome: Outcome;
  readonly taint: Taint;
}

/** The one way to a tool, a resource and a prompt. */
export interface Door extends Reading {
  /** The tools that the grant could call with some arguments, in the toolbox's order. */
  list(grant: Grant): readonly Tool[];
  /** One of them by its name; undefined for one that does not exist and one that the grant does not list. */
  find(grant: Grant, name: string): Tool | undefined;
  /**
   * What `call` would decide by the grant and the arguments alone, nothing charged and nothing on record: throws `tool.unknown`,
   * `tool.bad_arguments`, `permission.no_right`, `.argument_refused`, `.argument_not_granted`, `token.*`. For a transport that must know
   * before it answers.
   */
  check(caller: Caller, name: string, args: unknown): void;
  /**
   * Parses, authorizes, charges, audits, runs with a deadline, checks and settles one call. Refusals and faults of the caller throw
   * CapstanError (`tool.unknown`, `tool.bad_arguments`, `permission.*`, `budget.*`, `token.*`), audited; what the tool itself ran into
   * is an outcome with `isError`. An abort of `signal` ends the tool and rejects with `tool.cancelled`.
   */
  call(request: CallRequest): Promise<CallResult>;
  /** Calls the listener after tools, resources or prompts behind the door came, went or changed, until it is disposed. */
  onChange(listener: (change: ToolboxChange) => void): Disposable;
}

export interface DoorServices {
  readonly toolbox: Toolbox;
  readonly store: Store;
  readonly permissions: Permissions;
  /** Gets what must never reach a caller: the faults of tools, and settlements that the store refused. Must not throw. */
  readonly onFault: (fault: unknown) => void;
}

/** Opens the door over a toolbox. It holds nothing but the counts of calls in flight, for the `parallel` limit. */
export function openDoor(services: DoorServices): Door {
  const { toolbox, store, permissions, onFault } = services;
  const admitting = { ...services, inFlight: openInFlight() };
  const now = (): number => permissions.now();

  async function call(request: CallRequest): Promise<CallResult> {
    const { caller } = request;
    if (request.signal.aborted) throw cancelled(request.name);
    using admitted = await admit(admitting, request);
    const startedAt = now();
    using nested = openNested({
      request,
      reserved: admitted.amounts,
      timeoutMs: admitted.deadlineMs,
      maxCalls: admitted.call.nestedCalls,
      call,
      now,
      onFault,
    });
    const outcome = await perform({ request, admitted, nested, acts: toActs(services, request), onFault });
    // One call and nothing else was reserved: that is what was used, so there is nothing to give back.
    const isSettled = Object.keys(admitted.amounts).length === 1;
    if (outcome.type === "done" && !isSettled) await settle(admitted, outcome, now() - startedAt);
    return { outcome, taint: mergeTaint(outcome.taint ?? trusted, nested.taint()) };

    async function settle(from: Admitted, done: Outcome & { type: "done" }, elapsedMs: number): Promise<void> {
      const amounts = toUsed(from.amounts, done, elapsedMs);
      const ended = done.isError === true ? "error" : "done";
      const settles = [{ callId: from.chargeId, amounts, outcome: ended }] as const;
      await store.commit({ scope: caller.scope, settles }).catch(onFault);
    }
  }

  return {
    ...openReading(services),
    list: (grant) => toolbox.tools.filter((tool) => findRight(grant, tool.name, tool.pin) !== null),
    find(grant, name) {
      const tool = toolbox.find(name);
      return tool === undefined || findRight(grant, tool.name, tool.pin) === null ? undefined : tool;
    },
    check: (caller, name, args) => void decideCall(services, caller, name, args, now()),
    call,
    onChange: (listener) => toolbox.onChange(listener),
  };
}

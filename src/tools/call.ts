import type { Json, JsonObject } from "../core/json.ts";
import type { Principal, Scope } from "../core/scope.ts";
import type { Taint } from "../core/taint.ts";
import type { Grant } from "../permissions/grant.ts";
import type { Outcome, Progress, Tool } from "./tool.ts";

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

export interface CallRequest {
  readonly caller: Caller;
  readonly name: string;
  /** As it came over the wire; the door parses it. */
  readonly args: unknown;
  /** Keys event, charge, audit row and idempotency: the same id is charged once. */
  readonly callId: string;
  readonly parentId?: string;
  readonly approvalId?: string;
  readonly resumed?: { readonly responses: JsonObject; readonly state: Json };
  readonly signal: AbortSignal;
  readonly progress?: (progress: Progress) => void;
}

/** What came back, and where untrusted parts of it came from: the caller adds `taint` to its own. */
export interface CallResult {
  readonly outcome: Outcome;
  readonly taint: Taint;
}

/** The one way to a tool. */
export interface Door {
  /** The tools that the grant could call with some arguments, in the toolbox's order. */
  list(grant: Grant): readonly Tool[];
  /**
   * Parses, authorizes, charges, audits, runs with a deadline, checks and settles one call. Refusals and faults of the caller throw
   * CapstanError (`tool.unknown`, `tool.bad_arguments`, `permission.*`, `budget.*`, `token.*`), audited; what the tool itself ran into
   * is an outcome with `isError`. An abort of `signal` ends the tool and rejects with `tool.cancelled`.
   */
  call(request: CallRequest): Promise<CallResult>;
}

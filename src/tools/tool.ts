import { CapstanError, type ErrorCode } from "../core/error.ts";
import type { Block, Spent, SuspendedRun } from "../core/event.ts";
import type { Json, JsonObject, JsonSchema } from "../core/json.ts";
import { deepFreeze, isJson, isJsonObject } from "../core/json.ts";
import type { Amounts } from "../core/limits.ts";
import type { Principal, Scope } from "../core/scope.ts";
import type { Taint } from "../core/taint.ts";
import type { Grant, Need } from "../permissions/grant.ts";
import type { ToolName } from "../permissions/narrow.ts";

/** A schema as the door knows it: the JSON Schema for clients, computed once, and the strict parser for calls. */
export interface Schema<T> {
  readonly json: JsonSchema;
  /** Throws `tool.bad_arguments` with a sentence per problem. Fills defaults; refuses unknown keys. */
  parse(value: unknown): T;
}

/** What repeating a call does: `read` nothing, `idempotent` the same again, `once` harm. */
export type Effect = "read" | "idempotent" | "once";

/** What a tool may do to the world, in the terms of MCP's tool annotations. Missing means unknown, which counts as the worst. */
export interface Hints {
  readonly readOnly: boolean;
  readonly destructive: boolean;
  readonly idempotent: boolean;
  readonly openWorld: boolean;
}

/**
 * A question that must be answered at the client before a waiting call goes on: by a person in a form or at a URL, by the client's model
 * (`params` of MCP's sampling/createMessage), or by the client itself (its roots). The answer is MCP's bare result of that request.
 */
export type InputRequest = { readonly id: string } & (
  | { readonly type: "form"; readonly message: string; readonly schema: JsonSchema }
  | { readonly type: "url"; readonly message: string; readonly url: string; readonly elicitationId?: string }
  | { readonly type: "sampling"; readonly params: JsonObject }
  | { readonly type: "roots" }
);

/** Whoever answers the questions of a call that waits. */
export interface Answerer {
  /** Which questions it can answer. */
  readonly can: Readonly<Record<InputRequest["type"], boolean>>;
  /** Aborts when it cancels the call or is gone, also between a question and its answer. Missing: nothing would tell. */
  readonly gone?: AbortSignal;
  /** Asks while the call stays open. Missing: whoever asks must wait until it is taken up with the answers. */
  readonly now?: AnswererNow;
}

/** The way to whoever answers while a call stays open. An abort of `signal` withdraws what is asked. */
export interface AnswererNow {
  /** The answers, by the ids of the questions. Throws `tool.input_needed` where none comes. */
  ask(requests: readonly InputRequest[], signal: AbortSignal): Promise<JsonObject>;
  /**
   * Asks whether exactly this call may run: the id of the approval, or null where whoever is there may not approve it. Throws
   * `permission.approval_refused` for a no, and what `ask` throws.
   */
  approve(call: HeldCall, signal: AbortSignal): Promise<string | null>;
}

/** A call that was refused until a person approves it, and why. */
export interface HeldCall {
  readonly grant: Grant;
  readonly callId: string;
  readonly name: string;
  readonly args: JsonObject;
  readonly why: string;
}

/** A line that a running tool has for whoever called it, by syslog's levels (MCP, utilities/logging). */
export interface LogEntry {
  readonly level: "debug" | "info" | "notice" | "warning" | "error" | "critical" | "alert" | "emergency";
  readonly data: Json;
  readonly logger?: string;
}

/**
 * How a call ended. `done`: `value` is checked against the output schema, `content` is what a model sees beside it, `isError` a
 * failure that the model can read, `usage` what to settle (missing: what was reserved). `waiting`: the call goes on under the same
 * callId once `requests` are answered. `taint`: where untrusted parts of it came from (missing: nowhere).
 */
export type Outcome<O = Json> =
  | {
      readonly type: "done";
      readonly value?: O;
      readonly content?: readonly Block[];
      readonly isError?: boolean;
      readonly code?: string;
      readonly taint?: Taint;
      readonly usage?: Amounts;
      /** What a run that it started has cost, which is charged already. */
      readonly spent?: Spent;
    }
  | {
      readonly type: "waiting";
      readonly requests: readonly InputRequest[];
      readonly state: Json;
      readonly taint?: Taint;
      /** What it waits for stands on record: it may be taken up at any time, also with no answers, to see whether they came another way. */
      readonly durable?: true;
      /** The run that it waits for: for a caller that is a run itself, and makes the call again when it goes on. */
      readonly run?: SuspendedRun;
    };

/** How far a call has come: `done` of `total` when known, and a sentence. */
export interface Progress {
  readonly done: number;
  readonly total?: number;
  readonly message?: string;
}

/**
 * What a call is taken up with that waited, or was let go by a process that has ended: the answers by the ids of its requests, and its
 * own state. `cancelled`, only where that state is durable: its caller has given it up, so what the state names is to be ended.
 */
export interface Resumed {
  readonly responses: JsonObject;
  readonly state: Json;
  readonly cancelled?: true;
}

/** All that a running tool gets besides its arguments. Services are arguments of the function that defines the tool. */
export interface CallContext {
  readonly signal: AbortSignal;
  readonly callId: string;
  readonly parentId?: string;
  readonly scope: Scope;
  readonly principal: Principal;
  readonly grant: Grant;
  /** What was reserved for the call, which may take no more of the times in it. */
  readonly reserved: Amounts;
  /** What the caller had seen when it called; a tool that stores something stores this with it. */
  readonly taint: Taint;
  readonly progress: (progress: Progress) => void;
  readonly log: (entry: LogEntry) => void;
  /** Missing: nobody answers, as in a run and in code. */
  readonly answerer?: Answerer;
  /** How many calls are nested around this one. */
  readonly depth: number;
  /** What a call that is taken up comes back with. */
  readonly resumed?: Resumed;
  /**
   * Lets the caller go: it gets a handle now and asks for the end later. With `state` the call can be taken up again, should this process
   * end first; without one it is lost then. Resolves when the handle is on record; a later call replaces the state. Throws
   * `task.too_many`. Missing: the caller waits for the end.
   */
  readonly detach?: (state?: Json) => Promise<void>;
  /**
   * Asks the door whether the grant covers what shows only while the call runs. Throws `permission.*` and `token.*` as before a call;
   * nothing is put on record.
   */
  readonly demand: (needs: readonly Need[]) => Promise<void>;
  /** Puts an act of this call on record, as allowed or as refused with that code. Never rejects. */
  readonly record: (act: Act) => Promise<void>;
  /**
   * The door again, with a grant derived for this call. What the nested call asks is put to the caller where it answers while its calls
   * stay open, and the time of this call stands still meanwhile; else the outcome is `waiting`, and nobody takes it up.
   */
  readonly call: (name: string, args: JsonObject, around?: AroundNested) => Promise<Outcome>;
}

/** What a call did beside what it was called for: `action` as in the audit, such as `net/connect`. */
interface Act {
  readonly action: string;
  readonly name: string;
  readonly refused?: ErrorCode;
}

/** What the tool around a nested call has to do with it. */
export interface AroundNested {
  /** Missing: nobody hears how far it has come. */
  readonly progress?: (progress: Progress) => void;
  /** Stops what else measures the tool's time, until it is disposed of. */
  readonly pause?: () => Disposable;
  /** Where untrusted parts came from of what the tool itself brought in: the arguments may hold them. Missing: it brought in nothing. */
  readonly taint?: Taint;
}

/** What helps to make a value smaller that is too large for an answer. */
export interface Abridging<O> {
  /** Whether an answer with this value has room. */
  readonly fits: (value: O) => boolean;
  /** Keeps a part whole, which the answer then links to; gives its address. Throws as `Artifacts.save` does. */
  readonly keep: (part: {
    readonly name: string;
    readonly mimeType: string;
    readonly bytes: Uint8Array;
  }) => Promise<string>;
}

export interface ToolDefinition<I, O> {
  /** 1 to 64 characters of `A-Z a-z 0-9 _ -`. */
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly input: Schema<I>;
  readonly output?: Schema<O>;
  readonly hints: Hints;
  readonly effect: Effect | ((args: I, grant: Grant) => Effect);
  /** What the call needs beyond the right to the tool itself. */
  readonly needs: (args: I) => readonly Need[];
  /** Whether this call sends data out or destroys something, where by the hints some calls may. Missing: each does that may. */
  readonly isSink?: (args: I) => boolean;
  /** What to reserve beyond one call, before it runs: of time at most, where less is left that is reserved. Missing: nothing. */
  readonly reserve?: (args: I, grant: Grant) => Amounts;
  /** How many calls may be nested in one of it, those inside them included. Missing: as many as its grant may make. */
  readonly nestedCalls?: number;
  /** After how long the door ends a call; missing: 30 s. */
  readonly timeoutMs?: (args: I) => number;
  readonly run: (args: I, context: CallContext) => Promise<Outcome<O>>;
  /** The same answer with less in it, for whoever gets no more than fits. Missing: a value that is too large is left out. */
  readonly abridge?: (value: O, around: Abridging<O>) => Promise<O>;
  /** Who defined it. Missing: this process, whose code the operator trusts, so that an upgrade keeps old grants valid. */
  readonly origin?: { readonly source: string; readonly pin: string };
}

/** A call whose arguments are parsed, frozen and ready to be authorized: what was checked is what runs. */
export interface BoundCall {
  readonly args: JsonObject;
  readonly needs: readonly Need[];
  readonly timeoutMs: number;
  readonly nestedCalls?: number;
  /** Sends data out or destroys something, or nobody said: asks after untrusted content came in. */
  readonly sink: boolean;
  effect(grant: Grant): Effect;
  reserve(grant: Grant): Amounts;
  run(context: CallContext): Promise<Outcome>;
}

/** A tool as the toolbox holds it, without type parameters. */
export interface Tool {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly inputSchema: JsonSchema;
  readonly outputSchema?: JsonSchema;
  readonly hints: Hints;
  /** `builtin` for what this process defines, else the hash of the definition that was approved. */
  readonly pin: string;
  readonly source: string;
  /** Whether some call of it has effect `once`. */
  readonly maybeOnce: boolean;
  /** As in its definition. */
  readonly abridge?: (value: Json, around: Abridging<Json>) => Promise<Json>;
  /** Throws `tool.bad_arguments`. */
  bind(raw: unknown): BoundCall;
}

/** A tool as grants name it. */
export function toToolName({ name, pin, inputSchema }: Tool): ToolName {
  const { properties } = inputSchema;
  return { name, pin, argumentNames: isJsonObject(properties) ? Object.keys(properties) : [] };
}

const defaultTimeoutMs = 30_000;

/**
 * Makes a Tool of its definition. The name, the schemas and the hints are checked here, once (`tool.bad_definition`).
 */
export function defineTool<I extends object, O = Json>(definition: ToolDefinition<I, O>): Tool {
  const { name, hints, effect, input, output, abridge } = definition;
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) {
    throw new CapstanError("tool.bad_definition", `A tool name is 1 to 64 letters, digits, "_" or "-", not "${name}".`);
  }
  return {
    name,
    title: definition.title,
    description: definition.description,
    inputSchema: deepFreeze(input.json),
    ...(output === undefined ? {} : { outputSchema: deepFreeze(output.json) }),
    hints,
    pin: definition.origin?.pin ?? "builtin",
    source: definition.origin?.source ?? "builtin",
    maybeOnce: effect === "once" || typeof effect === "function",
    ...(output === undefined || abridge === undefined ? {} : { abridge: abridgeAs(name, output, abridge) }),
    bind(raw) {
      const { nestedCalls } = definition;
      const args = deepFreeze(input.parse(raw));
      if (!isJsonObject(args)) throw new CapstanError("tool.bad_definition", `The arguments of ${name} are no object.`);
      return {
        args,
        needs: definition.needs(args),
        timeoutMs: definition.timeoutMs?.(args) ?? defaultTimeoutMs,
        ...(nestedCalls === undefined ? {} : { nestedCalls }),
        sink: definition.isSink?.(args) ?? (hints.openWorld || hints.destructive),
        effect: (grant) => (typeof effect === "function" ? effect(args, grant) : effect),
        reserve: (grant) => definition.reserve?.(args, grant) ?? {},
        async run(context) {
          const outcome = await definition.run(args, context);
          if (outcome.type === "waiting") return outcome;
          const { value, ...rest } = outcome;
          return value === undefined ? rest : { ...rest, value: checkOutput(name, output, value) };
        },
      };
    },
  };
}

function abridgeAs<O>(
  name: string,
  output: Schema<O>,
  abridge: NonNullable<ToolDefinition<never, O>["abridge"]>,
): NonNullable<Tool["abridge"]> {
  const check = (value: O): Json => checkOutput(name, output, value);
  return async (value, { fits, keep }) =>
    check(await abridge(output.parse(value), { fits: (shorter) => fits(check(shorter)), keep }));
}

function checkOutput<O>(name: string, output: Schema<O> | undefined, value: O): Json {
  const problem = `${name} answered something else than its output schema says.`;
  try {
    const checked = output === undefined ? value : output.parse(value);
    if (isJson(checked)) return checked;
  } catch (cause) {
    throw new CapstanError("tool.bad_output", problem, { cause });
  }
  throw new CapstanError("tool.bad_output", problem);
}

import { CapstanError } from "../core/error.ts";
import type { IsolationLevel } from "../core/isolation.ts";
import type { Limits } from "../core/limits.ts";
import { findRight } from "./demand.ts";
import type { Grant, GrantRequest, Rights, ToolRight } from "./grant.ts";
import { parseFolder } from "./path-rule.ts";
import { parsePrompt } from "./prompt-rule.ts";
import { rightNamed } from "./right-index.ts";
import { parseSession } from "./session-name.ts";
import { parseUriRule } from "./uri-rule.ts";
import { parseUrlRule } from "./url-rule.ts";

/** A tool as grants name it: its name, the pin of its definition, and the arguments that it takes. */
export interface ToolName {
  readonly name: string;
  readonly pin: string;
  readonly argumentNames: readonly string[];
}

/** What to leave of a grant. A missing option keeps what the parent has of its kind; `[]` keeps nothing of it. */
export interface NarrowOptions {
  /** Names of tools, or patterns `*` and `prefix*`, which stand for what the parent may call of the tools there are now. */
  readonly allow?: readonly string[];
  /** Names or patterns, among what is allowed, whose calls need an approval. */
  readonly ask?: readonly string[];
  /**
   * Names or patterns, among what is allowed, that may be called after untrusted content came in, without asking for that. A pattern
   * picks among what the parent may call so.
   */
  readonly tainted?: readonly string[];
  /** Absolute folders or files. */
  readonly read?: readonly string[];
  readonly write?: readonly string[];
  /** As `api.github.com`, `*.example.org` or `http://localhost:8080`. */
  readonly hosts?: readonly string[];
  /** URIs, each with all below it, as `capstan://artifacts/`; `*` for any. */
  readonly resources?: readonly string[];
  /** Names of prompts, or `prefix*` for every name that begins so, now or later; `*` for any. */
  readonly prompts?: readonly string[];
  /** The languages that execute_code may run. */
  readonly languages?: readonly string[];
  /** The weakest level that code may run at. */
  readonly isolation?: IsolationLevel;
  /** Names of tools whose calls the holder may approve, or patterns, which pick among what the parent may. */
  readonly approve?: readonly string[];
  readonly runs?: Rights["runs"];
  /** Names of sandbox sessions; `*` for any of the grant's own. */
  readonly sessions?: readonly string[];
  /** The same as `limits.calls`. */
  readonly calls?: number;
  /** How long at most; never longer than the parent. */
  readonly ttlMs?: number;
  /** Limits beside or instead of the parent's. */
  readonly limits?: Limits;
  /** How many generations may still be derived; missing: one fewer than the parent. */
  readonly delegations?: number;
  /** Binds the grant to a run; what a run holds approves nothing unless `approve` says so. */
  readonly run?: string;
}

/** Options that keep nothing: a new grant starts from these and adds what its maker names, `{ ...nothing, allow: [...] }`. */
export const nothing = {
  allow: [],
  tainted: [],
  read: [],
  write: [],
  hosts: [],
  resources: [],
  prompts: [],
  approve: [],
  runs: [],
  sessions: [],
} as const satisfies NarrowOptions;

/**
 * The request that leaves of `parent` what `options` say, to be handed to `derive`. It never checks what the parent holds: asking for
 * more ends there, in `permission.widen`. Throws `usage.bad_option` for a name, pattern, host, folder
 * or URI that stands for nothing.
 */
export function narrow(parent: Grant, options: NarrowOptions, tools: readonly ToolName[], now: number): GrantRequest {
  const { rights } = parent;
  const { allow, ask, tainted, languages, run = parent.run } = options;
  let allowed: readonly ToolRight[] =
    allow === undefined ? rights.tools : allow.flatMap((name) => pickTools(parent, name, tools));
  if (languages !== undefined) allowed = withLanguages(allowed, languages, tools);
  if (ask !== undefined) allowed = withAsk(allowed, ask);
  if (tainted !== undefined) allowed = withTainted(allowed, tainted);
  return {
    rights: {
      ...rights,
      tools: uniqueByName(allowed),
      read: options.read?.map(parseFolder) ?? rights.read,
      write: options.write?.map(parseFolder) ?? rights.write,
      net: options.hosts?.map(parseUrlRule) ?? rights.net,
      resources: options.resources?.map(parseUriRule) ?? rights.resources,
      prompts: options.prompts?.map(parsePrompt) ?? rights.prompts,
      runs: options.runs ?? rights.runs,
      sessions: options.sessions?.map(parseSession) ?? rights.sessions,
      approve: pickApprovable(rights.approve, options, tools),
      isolation: options.isolation ?? rights.isolation,
    },
    limits: {
      ...parent.limits,
      ...options.limits,
      ...(options.calls === undefined ? {} : { calls: options.calls }),
    },
    expiresAt: options.ttlMs === undefined ? parent.expiresAt : Math.min(parent.expiresAt, now + options.ttlMs),
    delegations: options.delegations ?? Math.max(0, parent.delegations - 1),
    ...(run === undefined ? {} : { run }),
  };
}

/** The tools of these (`called` so) that a name or a pattern stands for, now. Throws `usage.bad_option` when there are none. */
export function expandName<T extends { readonly name: string }>(
  pattern: string,
  tools: readonly T[],
  called = "tool",
): readonly T[] {
  const found = findNamed(pattern, tools);
  if (found.length > 0) return found;
  const names = tools.map(({ name }) => name).join(", ");
  throw new CapstanError(
    "usage.bad_option",
    `${JSON.stringify(pattern.slice(0, 128))} names no ${called}. The ${called}s are: ${names || "none"}.`,
  );
}

/** The tools of these that a name or a pattern stands for. */
export function findNamed<T extends { readonly name: string }>(pattern: string, tools: readonly T[]): readonly T[] {
  const isPattern = pattern.endsWith("*");
  const prefix = pattern.slice(0, -1);
  return tools.filter(({ name }) => (isPattern ? name.startsWith(prefix) : name === pattern));
}

/** A pattern picks among what the parent may call; a name that the parent lacks is asked for, so that `derive` can refuse it. */
function pickTools(parent: Grant, pattern: string, tools: readonly ToolName[]): readonly ToolRight[] {
  if (pattern.endsWith("*")) {
    const callable = tools.flatMap(({ name, pin }) => findRight(parent, name, pin) ?? []);
    return expandName(pattern, callable);
  }
  const held = rightNamed(parent.rights, pattern);
  return held === undefined ? expandName(pattern, tools).map(toPlainRight) : [held.right];
}

/** As in `pickTools`. What a run holds approves nothing unless its maker says so. */
function pickApprovable(
  held: readonly string[],
  { approve, run }: NarrowOptions,
  tools: readonly ToolName[],
): string[] {
  const all = held.map((name) => ({ name }));
  const found = approve?.flatMap((name) => expandName(name, name.endsWith("*") || held.includes(name) ? all : tools));
  return found === undefined ? [...(run === undefined ? held : [])] : [...new Set(found.map(({ name }) => name))];
}

/** The right to call a tool with any arguments. */
export function toPlainRight({ name, pin }: ToolName): ToolRight {
  return { name, pin, ask: false, tainted: false };
}

const codeTool = "execute_code";

function withLanguages(
  allowed: readonly ToolRight[],
  languages: readonly string[],
  tools: readonly ToolName[],
): readonly ToolRight[] {
  const tool = tools.find(({ name }) => name === codeTool);
  if (tool === undefined || !allowed.some(({ name }) => name === codeTool)) {
    throw new CapstanError(
      "usage.bad_option",
      `A language narrows ${codeTool}, which is not among the allowed tools. Allow it too, or leave the language out.`,
    );
  }
  const rule = { name: "language", rule: { type: "one_of" as const, values: [...languages] }, optional: false };
  return allowed.map((right) => {
    if (right.name !== codeTool) return right;
    const others = (right.args ?? anyArguments(tool)).filter(({ name }) => name !== rule.name);
    return { ...right, args: [...others, rule] };
  });
}

/** A rule for each argument that a tool takes now, which allows anything. */
export function anyArguments({ argumentNames }: ToolName): NonNullable<ToolRight["args"]> {
  return argumentNames.map((name) => ({ name, rule: { type: "any" }, optional: true }));
}

function withAsk(allowed: readonly ToolRight[], ask: readonly string[]): readonly ToolRight[] {
  const asking = new Set(ask.flatMap((name) => expandName(name, allowed, "allowed tool")).map(({ name }) => name));
  return allowed.map((right) => (asking.has(right.name) ? { ...right, ask: true } : right));
}

/** As in `pickTools`: a name that the parent may not call so is asked for, so that `derive` can refuse it. */
function withTainted(allowed: readonly ToolRight[], tainted: readonly string[]): readonly ToolRight[] {
  const held = allowed.filter((right) => right.tainted);
  const named = tainted.flatMap((name) => expandName(name, name.endsWith("*") ? held : allowed, "allowed tool"));
  const names = new Set(named.map(({ name }) => name));
  return allowed.map((right) => ({ ...right, tainted: names.has(right.name) }));
}

function uniqueByName(rights: readonly ToolRight[]): ToolRight[] {
  const seen = new Set<string>();
  return rights.filter(({ name }) => !seen.has(name) && seen.add(name));
}

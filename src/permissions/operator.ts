import { deepFreeze } from "../core/json.ts";
import type { Limits } from "../core/limits.ts";
import type { Principal, Scope } from "../core/scope.ts";
import type { Grant, Rights, ToolRight } from "./grant.ts";
import type { ToolName } from "./narrow.ts";
import { anyArguments, expandName, toPlainRight } from "./narrow.ts";
import { parseFolder } from "./path-rule.ts";
import { parsePrompt } from "./prompt-rule.ts";
import { parseUriRule } from "./uri-rule.ts";

/** 9999-12-31: the end of what ends only by revocation. */
export const noEnd = 253_402_214_400_000;

/** As deep as handing on may go (`Grant.delegations`). */
const mostDelegations = 8;

/**
 * The built-in tools that the operator's own grant holds without being asked: code without network, the default graph, todos, the
 * calculator, and the file tools, which see nothing until a folder is named. By name, so that nothing new slips in.
 */
const defaultTools: ReadonlySet<string> = new Set([
  ...["execute_code", "calculator", "todo_add", "todo_list", "todo_update", "todo_delete"],
  ...["kg_search", "kg_open", "kg_neighbors", "kg_path", "kg_facts", "kg_add_facts", "kg_retract", "kg_merge"],
  ...["kg_stats", "kg_import", "kg_export"],
  ...["fs_stat", "fs_list", "fs_tree", "fs_find", "fs_search", "fs_usage", "fs_duplicates", "fs_recent", "fs_media"],
  ...["fs_git", "fs_read", "search_tools", "describe_tool", "session_list", "session_end"],
]);

/** The resources that the operator's own grant reads without being asked: what its calls and runs leave, and the default graph. */
const defaultResources = ["capstan://artifacts/", "capstan://runs/", "capstan://graphs/default/"];

interface Maker {
  readonly id: string;
  readonly now: number;
  /** Missing: no end but revocation. */
  readonly ttlMs?: number;
  readonly principal: Principal;
  readonly scope: Scope;
  readonly epoch: number;
}

export interface OperatorOptions extends Maker {
  /** Absolute folders or files; `[]`: none. Writing does not imply reading. */
  readonly read: readonly string[];
  readonly write: readonly string[];
  /** Names or patterns of tools beyond the default. A tool that is named here may be called with any arguments. */
  readonly allow: readonly string[];
  /** Names or patterns of tools that don't ask because untrusted content came in, where the grant holds them; missing: none. */
  readonly tainted?: readonly string[];
  /** URIs of resources beyond the default, each with all below it; missing: none. */
  readonly resources?: readonly string[];
  /** Names of prompts, or `prefix*`; missing: none. */
  readonly prompts?: readonly string[];
  /** Missing: no limits. */
  readonly limits?: Limits;
}

/** The operator's own grant where nothing else is presented, deep-frozen. Throws `usage.bad_option` for what names nothing. */
export function operatorGrant(options: OperatorOptions, tools: readonly ToolName[]): Grant {
  const named = options.allow.flatMap((pattern) => expandName(pattern, tools));
  const byDefault = tools.filter(({ name, pin }) => defaultTools.has(name) && pin === "builtin");
  const rights = new Map(byDefault.map((tool) => [tool.name, toDefaultRight(tool)]));
  for (const tool of named) rights.set(tool.name, toPlainRight(tool));
  const { limits = {}, resources = [], prompts = [], tainted = [] } = options;
  const free = new Set(tainted.flatMap((pattern) => expandName(pattern, tools)).map(({ name }) => name));
  return toGrant(options, limits, {
    resources: [...defaultResources, ...resources].map(parseUriRule),
    prompts: prompts.map(parsePrompt),
    tools: [...rights.values()].map((right) => ({ ...right, tainted: free.has(right.name) })),
    read: options.read.map(parseFolder),
    write: options.write.map(parseFolder),
    net: [],
  });
}

/**
 * All that the operator may do, from which new grants are made: every tool there is now, every folder, host, resource and prompt. It
 * is derived from and never presented: that its tools don't ask after untrusted content only lets a new grant say so.
 */
export function rootGrant(options: Maker, tools: readonly ToolName[]): Grant {
  return toGrant(
    options,
    {},
    {
      resources: [{ type: "any" }],
      prompts: ["*"],
      tools: tools.map((tool) => ({ ...toPlainRight(tool), tainted: true })),
      read: ["/"],
      write: ["/"],
      net: [{ hosts: ["*"], schemes: ["https", "http", "wss", "ws"], private: true }],
    },
  );
}

/** Of the graphs, only the default one. */
function toDefaultRight(tool: ToolName): ToolRight {
  const right = toPlainRight(tool);
  if (!tool.name.startsWith("kg_") || !tool.argumentNames.includes("graph")) return right;
  const args = anyArguments(tool).filter(({ name }) => name !== "graph");
  return { ...right, args: [...args, { name: "graph", rule: { type: "exact", value: "default" }, optional: true }] };
}

function toGrant(
  made: Maker,
  limits: Limits,
  own: Pick<Rights, "tools" | "resources" | "prompts" | "read" | "write" | "net">,
): Grant {
  const { id, now, ttlMs, principal, scope, epoch } = made;
  return deepFreeze({
    id,
    ancestors: [],
    principal,
    scope,
    issuedAt: now,
    notBefore: now,
    expiresAt: ttlMs === undefined ? noEnd : Math.min(noEnd, now + ttlMs),
    epoch,
    delegations: mostDelegations,
    rights: {
      ...own,
      runs: ["create", "read", "resume", "cancel"],
      sessions: ["*"],
      approve: own.tools.map(({ name }) => name),
      isolation: "wasm-in-thread",
    },
    limits,
  });
}

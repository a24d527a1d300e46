import { resolve } from "node:path";
import type { App } from "../app.ts";
import { CapstanError, toCapstanError } from "../core/error.ts";
import { newId } from "../core/id.ts";
import { canonicalJson, sha256 } from "../core/json.ts";
import type { McpConfig } from "../host/mcp/config.ts";
import type { Grant } from "../permissions/grant.ts";
import { meet } from "../permissions/meet.ts";
import { expandName, findNamed } from "../permissions/narrow.ts";
import { operatorGrant } from "../permissions/operator.ts";
import type { GrantFlags } from "./command.ts";
import { parsePrompt } from "../permissions/prompt-rule.ts";
import { parseUriRule } from "../permissions/uri-rule.ts";
import { toRoots } from "./roots.ts";

/** How long the operator's own grant lives: as long as a process may, and no token carries it. */
const operatorMs = 365 * 24 * 60 * 60 * 1000;

/**
 * The grant of this process: the token it was started with, the named grant of `--as`, and the flags, each where there is one, and
 * all of them must allow. Only where there is neither, the operator's default. `tell` hears what is left out of it. Throws `token.*`, and `usage.bad_option` or
 * `config.bad_value` for a folder that can't be granted and a name that is no tool's.
 */
export async function toProcessGrant(
  app: App,
  token: string | undefined,
  flags: GrantFlags,
  tell: (text: string) => void,
): Promise<Grant> {
  const { permissions } = app;
  await permissions.refresh();
  const now = permissions.now();
  const parts: Grant[] = [];
  if (token !== undefined) parts.push(await permissions.verify(token));
  if (flags.as !== undefined) parts.push(await loadNamed(app, flags.as, token !== undefined));
  if (hasFlags(flags) || parts.length === 0) {
    // Beside the same grant the same flags are the same grant, so that what was begun under both is found again.
    const id = parts.length === 0 ? newId("grant") : toFlagsId(flags, parts);
    parts.push(await fromFlags(app, flags, { id, now }, tell));
  }
  for (const part of parts) permissions.demandLive(part);
  return parts.reduce((grant, part) => meet(grant, part, { now }));
}

/** Whoever holds a token only is not told which names there are. */
async function loadNamed({ permissions }: App, name: string, confined: boolean): Promise<Grant> {
  try {
    return await permissions.named.get(name);
  } catch (thrown) {
    if (!confined || !(thrown instanceof CapstanError)) throw thrown;
    throw new CapstanError("token.unknown_name", "There is no grant of that name for this token. Leave --as out.");
  }
}

/** Whether anything was named for this process, so that its grant is not the operator's default. */
export function isNamed(token: string | undefined, flags: GrantFlags): boolean {
  return token !== undefined || flags.as !== undefined || hasFlags(flags);
}

function hasFlags({ root, write, allow }: GrantFlags): boolean {
  return [root, write, allow].some((list) => list !== undefined && list.length > 0);
}

/** Beside another grant it is another one: what came in under the flags is kept by this id, and came in under theirs alone. */
function toFlagsId({ root = [], write = [], allow = [] }: GrantFlags, beside: readonly Grant[]): string {
  const folders = [root, write].map((paths) => paths.map((path) => resolve(path)));
  const ids = beside.map((grant) => grant.id);
  return `flags_${sha256(canonicalJson([ids, ...folders, [...allow]])).slice(0, 32)}`;
}

async function fromFlags(
  app: App,
  flags: GrantFlags,
  { id, now }: { readonly id: string; readonly now: number },
  tell: (text: string) => void,
): Promise<Grant> {
  const { config, principal, scope, toolNames } = app;
  const there = (names: readonly string[]): readonly string[] =>
    names.filter((name) => {
      if (findNamed(name, toolNames).length > 0 || !mayBeBehind(config.mcp, name)) return true;
      tell(
        `${name} names no tool now and is left out: its server may be away, or wait for an approval. See: capstan mcp ls`,
      );
      return false;
    });
  const { read, write, allow, tainted, resources, prompts } = config.permissions;
  return operatorGrant(
    {
      id,
      now,
      ttlMs: operatorMs,
      principal,
      scope,
      epoch: app.permissions.epoch(principal),
      read: [
        ...(await toRoots(read, "permissions.read in the config", "config.bad_value")),
        ...(await toRoots(flags.root ?? [], "--root")),
      ],
      write: [
        ...(await toRoots(write, "permissions.write in the config", "config.bad_value")),
        ...(await toRoots(flags.write ?? [], "--write")),
      ],
      resources: fromConfig("resources", resources, parseUriRule),
      prompts: [...Object.keys(config.server.prompts), ...fromConfig("prompts", prompts, parsePrompt)],
      allow: [...fromConfig("allow", there(allow), (name) => expandName(name, toolNames)), ...there(flags.allow ?? [])],
      tainted: fromConfig("tainted", there(tainted), (name) => expandName(name, toolNames)),
    },
    toolNames,
  );
}

/** Whether a name or a pattern is for what a server behind has. One that fails takes nothing away but its own tools. */
export function mayBeBehind({ servers }: McpConfig, name: string): boolean {
  const start = name.endsWith("*") ? name.slice(0, -1) : undefined;
  return Object.entries(servers).some(
    ([server, { prefix }]) =>
      !prefix || name.startsWith(`${server}__`) || (start !== undefined && `${server}__`.startsWith(start)),
  );
}

/** The entries as they are. One that stands for nothing is the config's mistake, not the command line's. */
function fromConfig(key: string, entries: readonly string[], parse: (entry: string) => unknown): readonly string[] {
  for (const entry of entries) {
    try {
      parse(entry);
    } catch (cause) {
      const { message } = toCapstanError(cause);
      throw new CapstanError("config.bad_value", `permissions.${key} in the config: ${message}`, { cause });
    }
  }
  return entries;
}

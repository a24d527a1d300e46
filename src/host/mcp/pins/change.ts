import { randomBytes } from "node:crypto";
import type { Json } from "../../../core/json.ts";
import type { WireTool } from "../connection/connection.ts";
import type { Difference, PinnedServer, PinnedTool } from "./pins.ts";
import { toPinned } from "./definition.ts";
import { isSameLaunch, toKeptLaunch, toShownLaunches } from "./launch.ts";
import type { ServerPins, ServerRecord, ToolRecord } from "./records.ts";

/** The record of a server that is about to be started or reached like this; the same one where nothing changed. */
export function toLoaded(server: ServerRecord | null, launch: Json): ServerRecord {
  if (server === null) {
    const salt = randomBytes(16).toString("base64url");
    return { salt, launch: toKeptLaunch(launch, salt), isKnown: false };
  }
  const kept = toKeptLaunch(launch, server.salt);
  const isAsWanted =
    server.pending === undefined ? isSameLaunch(kept, server.launch) : isSameLaunch(kept, server.pending);
  if (isAsWanted) return server;
  const { salt, launch: pinned, isKnown } = server;
  return isSameLaunch(kept, pinned)
    ? { salt, launch: pinned, isKnown }
    : { salt, launch: pinned, pending: kept, isKnown };
}

/** What can be pinned of a list, by name. Of two tools of a name the first counts. */
export function toListed(tools: readonly WireTool[]): ReadonlyMap<string, PinnedTool> {
  const listed = new Map<string, PinnedTool>();
  for (const tool of tools) {
    const pinned = listed.has(tool.name) ? undefined : toPinned(tool);
    if (pinned !== undefined) listed.set(tool.name, pinned);
  }
  return listed;
}

/** The records that a list changes. */
export function toObserved(known: ServerPins["tools"], listed: ReadonlyMap<string, PinnedTool>): readonly ToolRecord[] {
  const gone = [...known.values()].filter((tool) => tool.isListed && !listed.has(nameOf(tool)));
  const there = [...listed].map(([name, pinned]) => [known.get(name), toSeen(known.get(name), pinned)] as const);
  return [
    ...gone.map((tool) => ({ ...tool, isListed: false })),
    ...there.filter(([before, after]) => !isSame(before, after)).map(([, after]) => after),
  ];
}

function toSeen(before: ToolRecord | undefined, pinned: PinnedTool): ToolRecord {
  const approved = before?.approved ?? pinned;
  return { approved, ...(approved.pin === pinned.pin ? {} : { pending: pinned }), isListed: true };
}

function isSame(before: ToolRecord | undefined, after: ToolRecord): boolean {
  return before?.isListed === after.isListed && before.pending?.pin === after.pending?.pin;
}

/** What may be used of a server. `launch` is how this process starts or reaches it; undefined where it never did. */
export function toPinnedServer({ server, tools }: ServerPins, launch: Json | undefined): PinnedServer {
  const usable = [...tools.values()].filter(({ isListed, pending }) => isListed && pending === undefined);
  return {
    isLaunchBlocked: server === null || isBlocked(server, launch),
    isKnown: server?.isKnown ?? false,
    tools: usable.map(({ approved }) => approved).sort((a, b) => (a.definition.name < b.definition.name ? -1 : 1)),
  };
}

function isBlocked({ salt, launch: pinned, pending }: ServerRecord, launch: Json | undefined): boolean {
  return launch === undefined ? pending !== undefined : !isSameLaunch(toKeptLaunch(launch, salt), pinned);
}

/** Everything of a server that waits for an approval, the launch first, then the tools by name. */
export function toDifferences(name: string, { server, tools }: ServerPins): readonly Difference[] {
  const launch =
    server?.pending === undefined ? [] : [{ server: name, ...toShownLaunches(server.launch, server.pending) }];
  const changed = [...tools.values()].flatMap(({ approved, pending }) =>
    pending === undefined
      ? []
      : [{ server: name, tool: approved.definition.name, before: approved.definition, after: pending.definition }],
  );
  return [...launch, ...changed.sort((a, b) => (a.tool < b.tool ? -1 : 1))];
}

/** The records in which the differences are approved. */
export function toApproved(
  { server, tools }: ServerPins,
  differences: readonly Difference[],
): { readonly server?: ServerRecord; readonly tools: readonly ToolRecord[] } {
  const isLaunchApproved = differences.some(({ tool }) => tool === undefined);
  return {
    ...(server?.pending === undefined || !isLaunchApproved
      ? {}
      : { server: { salt: server.salt, launch: server.pending, isKnown: server.isKnown } }),
    tools: differences.flatMap(({ tool }) => {
      const { pending, isListed = false } = (tool === undefined ? undefined : tools.get(tool)) ?? {};
      return pending === undefined ? [] : [{ approved: pending, isListed }];
    }),
  };
}

const nameOf = ({ approved }: ToolRecord): string => approved.definition.name;

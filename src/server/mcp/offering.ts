import type { Tool as WireTool } from "@modelcontextprotocol/server";
import { z } from "zod";
import type { JsonObject } from "../../core/json.ts";
import { isJsonObject } from "../../core/json.ts";
import { mayRead } from "../../permissions/demand.ts";
import type { Grant } from "../../permissions/grant.ts";
import { type Artifacts, artifactPrefix } from "../../tools/artifacts.ts";
import type { Door } from "../../tools/call.ts";
import { answerBytes, type Keeping, toLinked } from "../../tools/large-result.ts";
import { fromZod } from "../../tools/schema.ts";
import { type DiscoverySettings, entrySet } from "../../tools/discovery/search.ts";
import type { Outcome, Tool } from "../../tools/tool.ts";
import { toWireTool } from "./wire-tool.ts";

/** How much a client is shown at a time, of tools and of results. */
export interface Offering extends DiscoverySettings {
  /** Where results go that are too large for an answer. */
  readonly artifacts: Artifacts;
  /** The most text of a result, in bytes as JSON. */
  readonly resultBytes: number;
}

/** The door, and what clients are shown of what stands behind it. Without an offering: every tool, and results as they are. */
interface Offered {
  readonly door: Door;
  readonly offering?: Offering | undefined;
}

/** A tool and what it is called with. */
interface NamedCall {
  readonly name: string;
  readonly args: JsonObject;
}

const throughName = "call_tool";
const Through = fromZod(
  z.strictObject({
    name: z.string().min(1).max(128),
    arguments: z.record(z.string(), z.unknown()).optional().describe("as describe_tool tells them"),
  }),
);

/**
 * What many clients need beside the finders: they let their model call nothing but what is listed. It is no tool of the toolbox and no
 * right of its own: a call through it is the call of the tool that it names. As a tool whose own call nests the other, it could
 * neither ask a person nor tell progress, and would be charged twice.
 */
const through: WireTool = {
  name: throughName,
  title: "Call a tool",
  description: "Calls a tool that search_tools found and that is not listed.",
  inputSchema: { ...Through.json, type: "object" },
  annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: true },
};

/** What tools/list shows of the tools that a grant lists, which is all that it depends on. */
export function toOffered(listed: readonly Tool[], offering: Offering | undefined): WireTool[] {
  const shown = offering === undefined ? listed : entrySet(listed, offering);
  const tools = shown.map(toWireTool);
  return shown === listed || isTaken(listed) ? tools : [through, ...tools];
}

/**
 * The call that is meant: what goes through `call_tool` is decided, charged, asked about and recorded under its own name. That holds
 * also where `call_tool` is not listed just now, since a client may have an older list. Throws `tool.bad_arguments`.
 */
export function toMeant(call: NamedCall, grant: Grant, { door, offering }: Offered): NamedCall {
  if (call.name !== throughName || offering === undefined || offering.discovery === "all") return call;
  if (isTaken(door.list(grant))) return call;
  const { name } = Through.parse(call.args);
  const { arguments: args } = call.args;
  return { name, args: isJsonObject(args) ? args : {} };
}

/** A granted tool of that name is what the name stands for. */
const isTaken = (listed: readonly Tool[]): boolean => listed.some(({ name }) => name === throughName);

/**
 * The end of a call as the client gets it: links and a beginning where it is too large. Whoever may not read what the links lead to
 * gets all that an answer can hold. Throws as `toLinked` does.
 */
export async function toOfferedOutcome(
  outcome: Extract<Outcome, { type: "done" }>,
  { grant, name, callId, taint }: Pick<Keeping, "name" | "callId" | "taint"> & { readonly grant: Grant },
  { door, offering }: Offered,
): Promise<Outcome> {
  if (offering === undefined) return outcome;
  const { artifacts, resultBytes } = offering;
  const { principal, scope } = grant;
  return await toLinked(outcome, {
    ...{ artifacts, callId, name, taint },
    owner: { principal, scope, grant },
    maxTextBytes: mayRead(grant, artifactPrefix) ? resultBytes : answerBytes,
    tool: door.find(grant, name),
  });
}

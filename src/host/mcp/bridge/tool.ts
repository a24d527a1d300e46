import { CapstanError } from "../../../core/error.ts";
import type { Block } from "../../../core/event.ts";
import { isJsonObject, type Json, type JsonObject, type JsonSchema, sha256 } from "../../../core/json.ts";
import { fromJsonSchema, isJsonSchema } from "../../../tools/json-schema.ts";
import { toFailure } from "../../../tools/result.ts";
import { type CallContext, defineTool, type Hints, type Outcome, type Tool } from "../../../tools/tool.ts";
import { toBlocks, withoutCopy } from "./content.ts";
import type { BridgedServer } from "./server.ts";
import type { BridgedUris } from "./uris.ts";
import type { ServedTool } from "../config.ts";
import { broken } from "../connection/peer.ts";
import type { PinnedTool } from "../pins/pins.ts";

/** How much longer than the server the door waits, so that whoever calls hears what the server was too slow for. */
const graceMs = 1_000;
/** What holds of a tool of which the operator has said nothing. */
const worst: ServedTool = { effect: "once", sink: true };

/** The source of what comes from a server, as taint and as the origin of tools. */
export const toSource = (server: string): string => `mcp:${server}`;

/**
 * A server's tool as one of ours, under the name that it is published by. Its schemas are the server's; what it may do to the world is
 * what the operator says, and else the worst. Undefined where a schema is none.
 */
export function toBridgedTool(
  server: BridgedServer,
  name: string,
  pinned: PinnedTool,
  uris: BridgedUris,
): Tool | undefined {
  const { definition, pin } = pinned;
  const { inputSchema, annotations, title, description } = definition;
  const input: JsonSchema = { ...inputSchema, type: "object" };
  const output = toOutput(definition);
  if (!isJsonSchema(input) || (output !== undefined && !isJsonSchema(output))) return undefined;
  const source = toSource(server.name);
  const titles = [title, isJsonObject(annotations) ? annotations["title"] : undefined];
  const { tools, totalTimeoutMs } = server.config;
  const served = (Object.hasOwn(tools, definition.name) ? tools[definition.name] : undefined) ?? worst;

  async function run(args: object, context: CallContext): Promise<Outcome<object>> {
    try {
      const answered = await server.call(pinned, isJsonObject(args) ? args : {}, context);
      if (answered.type === "waiting") return { ...answered, taint: [source] };
      return toOutcome(server.name, answered.result, uris, output !== undefined);
    } catch (thrown) {
      // What the failure of a server says may be its own words.
      if (thrown instanceof CapstanError && thrown.code.startsWith("mcp.")) return toFailure(thrown, [source]);
      throw thrown;
    }
  }

  return defineTool<object, object>({
    name,
    title: titles.filter((text) => typeof text === "string").find((text) => text !== "") ?? definition.name,
    description: typeof description === "string" ? description : "",
    input: fromJsonSchema(input, { isForeign: true }),
    ...(output === undefined ? {} : { output: fromJsonSchema(output, { isForeign: true }) }),
    hints: toHints(served),
    effect: served.effect,
    needs: () => [],
    timeoutMs: () => totalTimeoutMs + graceMs,
    run,
    // Without a prefix another server may come to have this name and the same definition: no grant for one holds the other.
    origin: { source, pin: sha256(`${source} ${pin}`) },
  });
}

/** Only objects are structured content for every client; what a tool promises else is told as text. */
function toOutput({ outputSchema }: PinnedTool["definition"]): JsonSchema | undefined {
  const isOfObjects = isJsonObject(outputSchema) && (outputSchema["type"] ?? "object") === "object";
  return isOfObjects ? outputSchema : undefined;
}

/** What clients are told is what the door goes by. */
function toHints({ effect, sink }: ServedTool): Hints {
  return {
    readOnly: effect === "read",
    destructive: sink && effect !== "read",
    idempotent: effect !== "once",
    openWorld: sink,
  };
}

function toOutcome(
  server: string,
  { content = [], structuredContent: value, isError }: JsonObject,
  uris: BridgedUris,
  hasOutput: boolean,
): Outcome<object> {
  if (!Array.isArray(content)) throw broken(server, "answered tools/call with content that is no list");
  const blocks = toBlocks(content, uris);
  const done = { type: "done" as const, taint: [toSource(server)] };
  const isObject = isJsonObject(value);
  if (isObject && isError !== true) return { ...done, value, content: withoutCopy(blocks, value) };
  if (hasOutput && isError !== true) {
    const text = `The MCP server ${server} promised structured content and answered none. Look at its log, or ask who maintains it.`;
    throw new CapstanError("tool.bad_output", text);
  }
  const told = value === undefined ? blocks : [...withoutCopy(blocks, value), toText(value)];
  return { ...done, content: told, ...(isError === true ? { isError } : {}) };
}

const toText = (value: Json): Block => ({ type: "text", text: JSON.stringify(value) });

import type { Tool } from "@anthropic-ai/sdk/resources/messages";
import type { ModelTool } from "../../core/event.ts";
import type { Json } from "../../core/json.ts";
import { isJsonObject } from "../../core/json.ts";

/** What the API takes at the root of no tool's schema, and how it wants the names of properties there. */
const choices: ReadonlySet<string> = new Set(["anyOf", "oneOf", "allOf"]);
const isName = (name: string): boolean => /^[\w.-]{1,64}$/.test(name);

/**
 * A tool as the Messages API takes it. One schema that it does not take has it refuse the whole request, and tools of MCP servers have
 * any: what can't stand at the root of the schema is told in the description, and checked by the door as ever. Not `strict`, which takes
 * fewer schemas still.
 */
export function toAnthropicTool({ name, description, inputSchema }: ModelTool): Tool {
  const taken: Record<string, Json> = {};
  const told: Record<string, Json> = {};
  for (const [word, value] of Object.entries(inputSchema)) {
    if (choices.has(word)) told[word] = value;
    else if (word === "properties" && isJsonObject(value)) {
      const [lawful, odd] = [pick(value, isName), pick(value, (key) => !isName(key))];
      taken[word] = lawful;
      if (Object.keys(odd).length > 0) told[word] = odd;
    } else if (word === "required" && Array.isArray(value)) {
      taken[word] = value.filter((key) => typeof key === "string" && isName(key));
    } else taken[word] = value;
  }
  const more = Object.keys(told).length === 0 ? "" : `\n\nIts arguments also follow: ${JSON.stringify(told)}`;
  return { name, description: `${description}${more}`, input_schema: { ...taken, type: "object" } };
}

function pick(object: { readonly [key: string]: Json }, isPicked: (key: string) => boolean): Record<string, Json> {
  return Object.fromEntries(Object.entries(object).filter(([key]) => isPicked(key)));
}

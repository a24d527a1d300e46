import { CapstanError } from "../../../core/error.ts";
import type { Block } from "../../../core/event.ts";
import { isJsonObject, type Json } from "../../../core/json.ts";
import { mayPromptSome } from "../../../permissions/demand.ts";
import type { Prompt, PromptSource } from "../../../tools/prompt.ts";
import type { SourceContext } from "../../../tools/resource.ts";
import { textsOf, toBlocks } from "./content.ts";
import { completeAt } from "./resources.ts";
import type { BridgedServer } from "./server.ts";
import { toSource } from "./tool.ts";
import type { BridgedUris } from "./uris.ts";
import { broken } from "../connection/peer.ts";
import type { WirePrompt } from "../connection/connection.ts";

/** The prompts of one server, under the names that `toName` gives them; null: not published. */
export function toBridgedPrompts(
  server: BridgedServer,
  uris: BridgedUris,
  toName: (own: string) => string | null,
): PromptSource {
  const start = server.config.prefix ? `${server.name}__` : "";

  async function list({ grant, principal, signal }: SourceContext): Promise<ReadonlyMap<string, WirePrompt>> {
    if (!mayPromptSome(grant, start)) return new Map();
    const found = await server.use(principal, (seat) => seat.prompts(signal));
    return new Map(found.flatMap((prompt) => [[toName(prompt.name), prompt] as const]).filter(isNamed));
  }

  async function demandOwn(name: string, context: SourceContext): Promise<string> {
    const own = (await list(context)).get(name)?.name;
    if (own !== undefined) return own;
    throw new CapstanError("prompt.unknown", `The MCP server ${server.name} has no such prompt any more.`);
  }

  return {
    name: toSource(server.name),
    mayHave: (name) => name.startsWith(start),
    list: async (context) => [...(await list(context))].map(([name, prompt]) => toPrompt(name, prompt)),
    async get(name, args, context) {
      const params = { name: await demandOwn(name, context), arguments: { ...args } };
      const answered = await server.request("prompts/get", params, context);
      if (answered.type === "waiting") return { ...answered, taint: [toSource(server.name)] };
      const { description, messages } = answered.result;
      if (!Array.isArray(messages)) throw broken(server.name, "answered prompts/get without messages");
      return {
        type: "done",
        ...(typeof description === "string" ? { description } : {}),
        messages: messages.flatMap((message) => toMessage(message, uris)),
        taint: [toSource(server.name)],
      };
    },
    complete: async (name, request, context) =>
      await completeAt(server, { type: "ref/prompt", name: await demandOwn(name, context) }, request, context),
  };
}

function isNamed(entry: readonly [string | null, WirePrompt]): entry is readonly [string, WirePrompt] {
  return entry[0] !== null;
}

function toPrompt(name: string, prompt: WirePrompt): Prompt {
  const args = Array.isArray(prompt["arguments"]) ? prompt["arguments"].filter(isJsonObject) : [];
  return {
    name,
    ...textsOf(prompt, "title", "description"),
    arguments: args.flatMap(({ name: argument, description, required }) => {
      if (typeof argument !== "string") return [];
      const described = typeof description === "string" ? { description } : {};
      return [{ name: argument, ...described, required: required === true }];
    }),
  };
}

function toMessage(
  message: Json,
  uris: BridgedUris,
): readonly { readonly role: "user" | "assistant"; readonly content: Block }[] {
  const { role, content } = isJsonObject(message) ? message : {};
  if ((role !== "user" && role !== "assistant") || content === undefined) return [];
  return toBlocks([content], uris).map((block) => ({ role, content: block }));
}

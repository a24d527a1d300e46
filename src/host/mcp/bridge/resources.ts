import { CapstanError } from "../../../core/error.ts";
import { isJsonObject, type Json, type JsonObject } from "../../../core/json.ts";
import { mayReadSome } from "../../../permissions/demand.ts";
import type { CompletionRequest, Resource, ResourceSource, SourceContext } from "../../../tools/resource.ts";
import { textsOf, toContents } from "./content.ts";
import type { BridgedServer } from "./server.ts";
import { toSource } from "./tool.ts";
import type { BridgedUris } from "./uris.ts";
import { broken } from "../connection/peer.ts";
import type { WireResource, WireResourceTemplate } from "../connection/connection.ts";

/** As many as a source may list. */
const maxListed = 1_000;
/** A resource that is not there: of the legacy era, and of the modern one. */
const missing: readonly unknown[] = [-32_002, -32_602];

/** The resources of one server, each for the principal who asks, under URIs that lead to that server alone. */
export function toBridgedResources(server: BridgedServer, uris: BridgedUris): ResourceSource {
  const { name } = server;
  /** How the URIs of all its resources begin: for whoever may read none of them, it is not even connected to. */
  const start = uris.toPublished("");

  function demandOwn(uri: string): string {
    const own = uris.toOwn(uri);
    if (own === null) throw new CapstanError("resource.unknown", `No resource of the MCP server ${name} has this URI.`);
    return own;
  }

  return {
    name: toSource(name),
    owns: (uri) => uris.toOwn(uri) !== null,
    async list({ grant, principal, signal }) {
      if (!mayReadSome(grant, start)) return [];
      const found = await server.use(principal, (seat) => seat.resources(signal));
      return found.slice(0, maxListed).map((resource) => toResource(resource, uris));
    },
    async templates({ grant, principal, signal }) {
      if (!mayReadSome(grant, start)) return [];
      const found = await server.use(principal, (seat) => seat.templates(signal));
      return found.slice(0, maxListed).map((template) => ({
        ...describe(template),
        uriTemplate: uris.toPublished(template.uriTemplate),
      }));
    },
    async read(uri, context) {
      const answered = await server.request("resources/read", { uri: demandOwn(uri) }, context).catch(toMissing);
      if (answered === null) return null;
      if (answered.type === "waiting") return { ...answered, taint: [toSource(name)] };
      const { contents } = answered.result;
      if (!Array.isArray(contents)) throw broken(name, "answered resources/read without contents");
      return { type: "done", contents: toContents(contents, uris), taint: [toSource(name)] };
    },
    complete: async (uriTemplate, request, context) =>
      await completeAt(server, { type: "ref/resource", uri: demandOwn(uriTemplate) }, request, context),
    subscribe: async (uri, { principal, signal }, onUpdate) =>
      await server.use(principal, (seat) => seat.watching.watch(demandOwn(uri), signal, onUpdate)),
  };
}

/** What a server suggests for an argument; nothing where it offers no completion. Throws `mcp.*`. */
export async function completeAt(
  server: BridgedServer,
  ref: JsonObject,
  { argument, filled }: CompletionRequest,
  { principal, signal }: SourceContext,
): Promise<readonly string[]> {
  return await server.use(principal, async ({ connection }) => {
    const known = connection.capabilities();
    if (known !== undefined && known.completions === undefined) return [];
    const params = { ref, argument: { ...argument }, context: { arguments: { ...filled } } };
    const { completion } = await connection.request("completion/complete", params, { signal });
    const values = isJsonObject(completion) ? completion["values"] : undefined;
    if (!Array.isArray(values)) throw broken(server.name, "answered completion/complete without values");
    return values.filter((value: Json) => typeof value === "string");
  });
}

function toResource(resource: WireResource, uris: BridgedUris): Resource {
  const { size } = resource;
  return {
    ...describe(resource),
    uri: uris.toPublished(resource.uri),
    ...(typeof size === "number" && Number.isInteger(size) ? { bytes: size } : {}),
  };
}

function describe(item: WireResource | WireResourceTemplate): Omit<Resource, "uri" | "bytes"> {
  const { name, annotations } = item;
  return {
    name,
    ...textsOf(item, "title", "description", "mimeType"),
    ...(isJsonObject(annotations) ? { annotations } : {}),
  };
}

function toMissing(thrown: unknown): null {
  if (thrown instanceof CapstanError && missing.includes(thrown.details["code"])) return null;
  throw thrown;
}

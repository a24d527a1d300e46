import { type CompleteRequest, isSpecType, ProtocolError, ProtocolErrorCode } from "@modelcontextprotocol/server";
import { z } from "zod";
import type { JsonObject } from "../../core/json.ts";
import { isJsonObject } from "../../core/json.ts";
import { inTraceOf } from "../../host/telemetry/carry.ts";
import { callTool, listTools } from "./call-tools.ts";
import type { Connection } from "./connection.ts";
import type { Exchange } from "./exchange.ts";
import * as reading from "./read-things.ts";

/** Answers one method on a connection. `params` is what came over the wire. Throws ProtocolError. */
type Method = (connection: Connection, params: unknown, exchange: Exchange) => Promise<object>;

/** Methods by their names. */
export type Methods = Readonly<Record<string, Method>>;

/** They came as JSON. */
const Arguments = z.custom<JsonObject>(isJsonObject);
const List = z.looseObject({ cursor: z.string().optional() });
const Call = z.looseObject({ name: z.string(), arguments: Arguments.default({}) });
const Read = z.looseObject({ uri: z.string() });
const Get = z.looseObject({ name: z.string(), arguments: z.record(z.string(), z.string()).default({}) });

/** The method of a name, in the first of the tables that has one. It acts within the trace that its request names. */
export function findMethod(name: string, ...tables: readonly Methods[]): Method {
  const table = tables.find((each) => Object.hasOwn(each, name));
  const method = table?.[name];
  if (method === undefined) throw new ProtocolError(ProtocolErrorCode.MethodNotFound, "Method not found");
  return (connection, params, exchange) => inTraceOf(exchange.meta, () => method(connection, params, exchange));
}

/** Every method that both eras have. What begins and ends a connection is its era's own. */
export const methods: Methods = {
  "tools/list": async (connection, params, exchange) => {
    const { cursor } = fitParams(List, params, "{cursor} with a text");
    if (cursor !== undefined) throw invalid("The list has one page. Leave the cursor out.");
    return { tools: await listTools(connection, exchange) };
  },
  "tools/call": async (connection, params, exchange) => {
    const { name, arguments: args } = fitParams(Call, params, "{name, arguments} with a text and an object");
    return await callTool(connection, { name, args }, exchange);
  },
  "resources/list": async (connection, params, exchange) => {
    const { cursor } = fitParams(List, params, "{cursor} with a text");
    const all = await reading.listThings(connection, "resources/list", exchange, (request) =>
      connection.door.listResources(request),
    );
    const { items, ...next } = reading.toPage(all, cursor);
    return { resources: items.map(reading.toWireResource), ...next };
  },
  "resources/templates/list": async (connection, params, exchange) => {
    const { cursor } = fitParams(List, params, "{cursor} with a text");
    const all = await reading.listThings(connection, "resources/templates/list", exchange, (request) =>
      connection.door.listTemplates(request),
    );
    const { items, ...next } = reading.toPage(all, cursor);
    return { resourceTemplates: items.map(reading.toWireResource), ...next };
  },
  "resources/read": async (connection, params, exchange) => {
    const { uri } = fitParams(Read, params, "{uri} with a text");
    return await reading.readResource(connection, uri, exchange);
  },
  "prompts/list": async (connection, params, exchange) => {
    const { cursor } = fitParams(List, params, "{cursor} with a text");
    const all = await reading.listThings(connection, "prompts/list", exchange, (request) =>
      connection.door.listPrompts(request),
    );
    const { items, ...next } = reading.toPage(all, cursor);
    return { prompts: items.map(reading.toWirePrompt), ...next };
  },
  "prompts/get": async (connection, params, exchange) => {
    const { name, arguments: args } = fitParams(Get, params, "{name, arguments} with a text and an object of texts");
    return await reading.getPrompt(connection, { name, args }, exchange);
  },
  "completion/complete": async (connection, params, exchange) => {
    return await reading.complete(connection, fitCompletion(params), exchange);
  },
};

/** The params of a request as they should be. Throws -32602 with what was expected. */
export function fitParams<T>(schema: z.ZodType<T>, params: unknown, expected: string): T {
  const fitted = schema.safeParse(params ?? {});
  if (fitted.success) return fitted.data;
  throw invalid(`The params must be ${expected}.`);
}

function fitCompletion(params: unknown): CompleteRequest["params"] {
  const request: unknown = { method: "completion/complete", params };
  if (isSpecType.CompleteRequest(request)) return request.params;
  throw invalid("The params must be {ref, argument}: a prompt or a resource template, and {name, value}.");
}

const invalid = (message: string, data?: JsonObject): ProtocolError =>
  new ProtocolError(ProtocolErrorCode.InvalidParams, message, data);

import { ProtocolError, ProtocolErrorCode, Server, type ServerContext } from "@modelcontextprotocol/server";
import { z } from "zod";
import { trusted } from "../../core/taint.ts";
import type { ReadingRequest } from "../../tools/reading.ts";
import { callTool, listTools } from "./call-tools.ts";
import type { Connection, DispatchServices } from "./connection.ts";
import { type CanAnswer, demandRevision, toCanAnswer } from "./envelope.ts";
import { openQuestions } from "./questions.ts";
import * as reading from "./read-things.ts";

export type { DispatchServices } from "./connection.ts";

/** What one connection asks of us, answered at the door. */
export interface Dispatch {
  /** A new SDK server with our handlers; one serves one connection of one era. */
  toServer(): Server;
  /** Resolves when no call runs any more. */
  settled(): Promise<void>;
}

const instructions =
  "Every call is checked against a grant: tools/list shows what this one allows. A refusal names its code and what would allow it.";

/** Lists change only when a grant is revoked or runs out, and a stale one grants nothing. They are never shared between users. */
const cacheHint = { ttlMs: 60_000, cacheScope: "private" } as const;
const cachedMethods = [
  "tools/list",
  "server/discover",
  "resources/list",
  "resources/templates/list",
  "prompts/list",
] as const;

const ListParams = z.looseObject({ cursor: z.string().optional() });

/** Opens the dispatch of one connection. Each request is decided by its own grant; the connection itself holds no right. */
export function openDispatch(services: DispatchServices): Dispatch {
  const { door, permissions, version } = services;
  const connection: Connection = { ...services, questions: openQuestions(permissions), seen: { taint: trusted } };
  const running = new Set<Promise<unknown>>();

  function toServer(): Server {
    const server = new Server(
      { name: "capstan", title: "Capstan", version },
      {
        capabilities: { tools: {}, resources: {}, prompts: {}, completions: {}, logging: {} },
        instructions,
        cacheHints: Object.fromEntries(cachedMethods.map((method) => [method, cacheHint])),
      },
    );
    const canAnswer = ({ mcpReq: { envelope } }: ServerContext): CanAnswer =>
      toCanAnswer(envelope, server.getClientCapabilities());

    server.setRequestHandler("tools/list", { params: ListParams }, async ({ cursor }, context) => {
      demandRevision(context.mcpReq.envelope);
      if (cursor !== undefined) {
        throw new ProtocolError(ProtocolErrorCode.InvalidParams, "The list has one page. Leave the cursor out.");
      }
      return { tools: await listTools(connection, context) };
    });
    server.setRequestHandler("tools/call", async ({ params: { name, arguments: args = {} } }, context) => {
      return await tracked(context, () =>
        callTool(connection, { name, args: z.record(z.string(), z.json()).parse(args) }, context, canAnswer(context)),
      );
    });
    server.setRequestHandler("resources/list", { params: ListParams }, async ({ cursor }, context) => {
      const all = await tracked(context, () =>
        reading.listThings(connection, "resources/list", context, (request) => door.listResources(request)),
      );
      const { items, ...next } = reading.toPage(all, cursor);
      return { resources: items.map(reading.toWireResource), ...next };
    });
    server.setRequestHandler("resources/templates/list", { params: ListParams }, async ({ cursor }, context) => {
      const list = (request: ReadingRequest) => door.listTemplates(request);
      const all = await tracked(context, () =>
        reading.listThings(connection, "resources/templates/list", context, list),
      );
      const { items, ...next } = reading.toPage(all, cursor);
      return { resourceTemplates: items.map(reading.toWireResource), ...next };
    });
    server.setRequestHandler("resources/read", async ({ params: { uri } }, context) => {
      return await tracked(context, () => reading.readResource(connection, uri, context, canAnswer(context)));
    });
    server.setRequestHandler("prompts/list", { params: ListParams }, async ({ cursor }, context) => {
      const all = await tracked(context, () =>
        reading.listThings(connection, "prompts/list", context, (request) => door.listPrompts(request)),
      );
      const { items, ...next } = reading.toPage(all, cursor);
      return { prompts: items.map(reading.toWirePrompt), ...next };
    });
    server.setRequestHandler("prompts/get", async ({ params: { name, arguments: args = {} } }, context) => {
      const asked = { name, args: reading.demandTexts(args) };
      return await tracked(context, () => reading.getPrompt(connection, asked, context, canAnswer(context)));
    });
    server.setRequestHandler("completion/complete", async ({ params }, context) => {
      return await tracked(context, () => reading.complete(connection, params, context));
    });
    return server;
  }

  /** What runs is awaited when the connection ends. */
  async function tracked<T>({ mcpReq }: ServerContext, work: () => Promise<T>): Promise<T> {
    demandRevision(mcpReq.envelope);
    const call = work();
    running.add(call);
    return await call.finally(() => running.delete(call));
  }

  return {
    toServer,
    async settled() {
      await Promise.allSettled(running);
    },
  };
}

import { Server } from "@modelcontextprotocol/server";
import { z } from "zod";
import { trusted } from "../../core/taint.ts";
import type { Connection, DispatchServices } from "./connection.ts";
import { demandRevision, toCanAnswer } from "./envelope.ts";
import { toExchange } from "./exchange.ts";
import { toMethods } from "./methods.ts";
import { openQuestions } from "./questions.ts";

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

const capabilities = { tools: {}, resources: {}, prompts: {}, completions: {}, logging: {} };
const Params = z.looseObject({});

/** Opens the dispatch of one connection. Each request is decided by its own grant; the connection itself holds no right. */
export function openDispatch(services: DispatchServices): Dispatch {
  const { permissions, version } = services;
  const connection: Connection = { ...services, questions: openQuestions(permissions), seen: { taint: trusted } };
  const methods = toMethods(connection);
  const running = new Set<Promise<unknown>>();

  function toServer(): Server {
    const cacheHints = Object.fromEntries(cachedMethods.map((method) => [method, cacheHint]));
    const server = new Server(
      { name: "capstan", title: "Capstan", version },
      { capabilities, instructions, cacheHints },
    );

    for (const [name, method] of Object.entries(methods)) {
      server.setRequestHandler(name, { params: Params }, async (params, context) => {
        const { envelope } = context.mcpReq;
        demandRevision(envelope);
        const exchange = toExchange(context, toCanAnswer(envelope, server.getClientCapabilities()));
        const answer = method(params, exchange);
        running.add(answer);
        return { ...(await answer.finally(() => running.delete(answer))) };
      });
    }
    return server;
  }

  return {
    toServer,
    async settled() {
      await Promise.allSettled(running);
    },
  };
}

import { Server } from "@modelcontextprotocol/server";
import { z } from "zod";
import { trusted } from "../../core/taint.ts";
import type { Grant } from "../../permissions/grant.ts";
import type { Connection, DispatchServices } from "./connection.ts";
import { demandRevision, toCanAnswer } from "./envelope.ts";
import { toExchange } from "./exchange.ts";
import { toMethods } from "./methods.ts";
import { type Modern, openModern } from "./modern.ts";
import { cacheHints, capabilities, instructions } from "./offer.ts";
import type { Notice } from "./notices.ts";
import { openQuestions } from "./questions.ts";
import { type OlderSubscriptions, openOlderSubscriptions } from "./subscriptions-older.ts";
import { openSubscriptions } from "./subscriptions.ts";
import { toTaskMethods } from "./tasks-methods.ts";

export type { DispatchServices } from "./connection.ts";

/** What one connection asks of us, answered at the door. */
export interface Dispatch {
  /** Requests of the modern era. */
  readonly modern: Modern;
  /** A new SDK server with our handlers; one serves one connection of one era, which began under `opener`. */
  toServer(opener: Grant): Server;
  /** Ends all subscriptions: modern ones get their last answer, and nothing is told after that. */
  endSubscriptions(): Promise<void>;
  /** Resolves when no call runs any more. */
  settled(): Promise<void>;
}

const Params = z.looseObject({});

/** Opens the dispatch of one connection. Each request is decided by its own grant; the connection itself holds no right. */
export function openDispatch(services: DispatchServices): Dispatch {
  const { permissions, version } = services;
  const connection: Connection = { ...services, questions: openQuestions(permissions), seen: { taint: trusted } };
  const methods = toMethods(connection);
  const running = new Set<Promise<unknown>>();

  const subscriptions = openSubscriptions(connection);
  const older: OlderSubscriptions[] = [];
  const modern = openModern({ ...methods, ...toTaskMethods(connection) }, subscriptions, version);

  async function tracked<T>(work: Promise<T>): Promise<T> {
    running.add(work);
    return await work.finally(() => running.delete(work));
  }

  function toServer(opener: Grant): Server {
    const server = new Server(
      { name: "capstan", title: "Capstan", version },
      { capabilities, instructions, cacheHints: Object.fromEntries(cacheHints) },
    );
    const send = ({ method, params }: Notice): Promise<void> =>
      server.notification({ method, ...(params === undefined ? {} : { params }) }).catch(() => {}); // The client is gone.
    const own = openOlderSubscriptions(connection, subscriptions, { opener, send });
    older.push(own);
    server.oninitialized = () => own.begin();
    for (const [name, method] of Object.entries({ ...methods, ...own.methods })) {
      server.setRequestHandler(name, { params: Params }, async (params, context) => {
        const { envelope } = context.mcpReq;
        demandRevision(envelope);
        const exchange = toExchange(context, toCanAnswer(envelope, server.getClientCapabilities()));
        return { ...(await tracked(method(params, exchange))) };
      });
    }
    return server;
  }

  return {
    modern: (request, io) => tracked(modern(request, io)),
    toServer,
    async endSubscriptions() {
      await Promise.all([subscriptions.end(), ...older.map((own) => own.end())]);
    },
    async settled() {
      await Promise.allSettled(running);
    },
  };
}

import type { JSONRPCMessage, JSONRPCRequest, JSONRPCResponse } from "@modelcontextprotocol/server";
import { trusted } from "../../core/taint.ts";
import type { Grant } from "../../permissions/grant.ts";
import type { Connection, DispatchServices } from "./connection.ts";
import { type ModernIo, performModern } from "./modern.ts";
import type { Notice } from "./notices.ts";
import { type Older, openOlder } from "./older.ts";
import { type OlderSubscriptions, openOlderSubscriptions } from "./subscriptions-older.ts";
import { openSubscriptions } from "./subscriptions.ts";

export type { DispatchServices } from "./connection.ts";

/** What one connection asks of us, answered at the door. */
export interface Dispatch {
  /** Answers a request of the modern era. Never rejects. */
  modern(request: JSONRPCRequest, io: ModernIo): Promise<JSONRPCResponse>;
  /** The connection of an older client, which began under `opener`. `send` must not reject. */
  toOlder(opener: Grant, send: (message: JSONRPCMessage) => Promise<void>): Older;
  /** Ends all subscriptions: modern ones get their last answer, and nothing is told after that. */
  endSubscriptions(): Promise<void>;
  /** Resolves when no call runs any more. */
  settled(): Promise<void>;
}

/** Opens the dispatch of one connection. Each request is decided by its own grant; the connection itself holds no right. */
export function openDispatch(services: DispatchServices): Dispatch {
  const connection: Connection = { ...services, seen: { taint: trusted } };
  const running = new Set<Promise<unknown>>();

  const subscriptions = openSubscriptions(connection);
  const older: OlderSubscriptions[] = [];

  async function tracked<T>(work: Promise<T>): Promise<T> {
    running.add(work);
    return await work.finally(() => running.delete(work));
  }

  function toOlder(opener: Grant, send: (message: JSONRPCMessage) => Promise<void>): Older {
    const tell = ({ method, params }: Notice): Promise<void> =>
      send({ jsonrpc: "2.0", method, ...(params === undefined ? {} : { params }) });
    const own = openOlderSubscriptions(connection, subscriptions, { opener, send: tell });
    older.push(own);
    return openOlder({
      connection,
      own: own.methods,
      send: (message) => void send(message),
      onInitialized: () => own.begin(),
      track: (work) => void tracked(work),
    });
  }

  return {
    modern: (request, io) => tracked(performModern(connection, subscriptions, request, io)),
    toOlder,
    async endSubscriptions() {
      await Promise.all([subscriptions.end(), ...older.map((own) => own.end())]);
    },
    async settled() {
      await Promise.allSettled(running);
    },
  };
}

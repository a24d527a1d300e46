import { z } from "zod";
import type { Grant } from "../../permissions/grant.ts";
import { type Connection, toGrant } from "./connection.ts";
import type { Exchange } from "./exchange.ts";
import { fitParams, type Methods } from "./methods.ts";
import type { Following, Notice } from "./notices.ts";
import { toRequest } from "./read-things.ts";
import { toProtocolError } from "./result.ts";
import { type Subscriptions, toUpdate, Uri } from "./subscriptions.ts";

const Named = z.looseObject({ uri: Uri });

/** What a client of 2025-11-25 or older is told unasked, and what it subscribes to. */
export interface OlderSubscriptions {
  /** resources/subscribe and resources/unsubscribe. */
  readonly methods: Methods;
  /** The client has said that it is initialized: from now on it hears of changed lists. */
  begin(): void;
  /** Ends it all; resolves when the sources know. */
  end(): Promise<void>;
}

/**
 * Opens the subscriptions of an older client's connection (2025-11-25, server/resources, Subscriptions). A resource is followed under the
 * grant of the request that subscribed to it, and as long as that lives; of changed lists a client hears while the grant of its latest
 * request lives, since they tell no more than that it may ask again. `opener` is the grant that it began with; `send` must not reject.
 */
export function openOlderSubscriptions(
  connection: Connection,
  subscriptions: Subscriptions,
  { opener, send }: { readonly opener: Grant; readonly send: (notice: Notice) => Promise<void> },
): OlderSubscriptions {
  const { notices, door, seen } = connection;
  const byUri = new Map<string, AsyncDisposableStack>();
  let following: Following | undefined;
  let hasEnded = false;

  async function subscribe(uri: string, exchange: Exchange): Promise<void> {
    const request = await toRequest(connection, exchange, "resources/subscribe", uri);
    if (hasEnded) return;
    const { grant } = request.caller;
    const opened = new AsyncDisposableStack();
    const previous = byUri.get(uri);
    byUri.set(uri, opened);
    try {
      await previous?.disposeAsync();
      opened.use(subscriptions.claim(grant, 1));
      const onDead = (): void => void drop(uri, opened).catch(() => {}); // Its source can't let go; there is nobody to tell.
      const hearing = opened.use(notices.follow({ grant: () => grant, lists: [], tell: send, onDead }));
      const notice = toUpdate(uri);
      const subscription = await door.subscribe({ ...request, uri }, () => hearing.mark(notice));
      // It was ended, or subscribed to again, while this was on its way.
      if (opened.disposed) return await subscription[Symbol.asyncDispose]();
      opened.use(subscription);
      if (previous !== undefined) hearing.mark(notice); // Nobody knows what happened in between.
      hearing.begin();
    } catch (thrown) {
      await drop(uri, opened);
      throw thrown;
    }
  }

  /** Ends the subscription to a URI, or `only` that one where it is no longer the present one. */
  async function drop(uri: string, only = byUri.get(uri)): Promise<void> {
    if (only !== undefined && byUri.get(uri) === only) byUri.delete(uri);
    await only?.disposeAsync();
  }

  return {
    methods: {
      "resources/subscribe": async (_, params, exchange) => {
        const { uri } = fitParams(Named, params, "{uri} with a text");
        await subscribe(uri, exchange).catch((thrown: unknown) => {
          throw toProtocolError(thrown, { uri });
        });
        return {};
      },
      "resources/unsubscribe": async (_, params, exchange) => {
        const { uri } = fitParams(Named, params, "{uri} with a text");
        try {
          await toGrant(connection, exchange, "resources/unsubscribe", uri);
          await drop(uri);
          return {};
        } catch (thrown) {
          throw toProtocolError(thrown, { uri });
        }
      },
    },

    begin() {
      if (following !== undefined || hasEnded) return;
      const lists = ["tools", "resources", "prompts"] as const;
      following = notices.follow({ grant: () => seen.grant ?? opener, lists, tell: send });
      following.begin();
    },

    async end() {
      hasEnded = true;
      following?.[Symbol.dispose]();
      await Promise.allSettled([...byUri.keys()].map((uri) => drop(uri)));
    },
  };
}

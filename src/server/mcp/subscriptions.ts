import {
  type JSONRPCNotification,
  ProtocolError,
  ProtocolErrorCode,
  type RequestId,
  SUBSCRIPTION_ID_META_KEY,
} from "@modelcontextprotocol/server";
import { z } from "zod";
import { newId } from "../../core/id.ts";
import type { Grant } from "../../permissions/grant.ts";
import type { ReadingRequest } from "../../tools/reading.ts";
import type { ToolboxChange } from "../../tools/toolbox.ts";
import type { Connection } from "./connection.ts";
import type { Exchange } from "./exchange.ts";
import { type Following, type Notice, tooMany } from "./notices.ts";
import { toRequest } from "./read-things.ts";
import { toProtocolError } from "./result.ts";

/** Subscriptions of one connection: resources, and listening streams without one. */
const maxOfConnection = 1_000;
/** A longer URI is no resource's. */
export const Uri = z.string().max(8_192);

const Listen = z.looseObject({
  notifications: z.object({
    toolsListChanged: z.boolean().optional(),
    resourcesListChanged: z.boolean().optional(),
    promptsListChanged: z.boolean().optional(),
    resourceSubscriptions: z.array(Uri).optional(),
  }),
});
type Filter = z.infer<typeof Listen>["notifications"];

/** The subscriptions of one connection. */
export interface Subscriptions {
  /** Counts them until disposed. Throws `resource.too_many`. */
  claim(grant: Grant, count: number): Disposable;
  /** subscriptions/listen: resolves when the subscription has ended, whoever ended it. */
  listen(listening: Listening): Promise<object>;
  /** Ends all that listen; resolves when they have ended. */
  end(): Promise<void>;
}

/** One subscriptions/listen request. */
interface Listening {
  readonly id: RequestId;
  readonly params: unknown;
  readonly exchange: Exchange;
  /** Resolves when it is written; never rejects. */
  readonly notify: (notification: JSONRPCNotification) => Promise<void>;
}

/**
 * Opens the subscriptions of a connection (2026-07-28, basic/patterns/subscriptions). What a subscription may follow is decided once, by
 * the grant of its request, and it ends with that grant. Resources that the grant does not allow, and those that there are not, are left
 * out of what is acknowledged.
 */
export function openSubscriptions(connection: Connection): Subscriptions {
  const { notices, door } = connection;
  const running = new Set<Promise<object>>();
  const ends = new Set<() => void>();
  let hasEnded = false;
  let count = 0;

  function claim(grant: Grant, more: number): Disposable {
    if (count + more > maxOfConnection) throw tooMany(maxOfConnection, "a connection");
    const claimed = notices.claim(grant, more);
    count += more;
    return {
      [Symbol.dispose]() {
        count -= more;
        claimed[Symbol.dispose]();
      },
    };
  }

  /** Opens a subscription; what it holds from then on is all that stays of its request. */
  async function begin({ id, params, exchange, notify }: Listening): Promise<Begun> {
    const filter = toFilter(params);
    const request = await toRequest(connection, exchange, "subscriptions/listen", "");
    const { grant } = request.caller;
    const { signal } = exchange;
    const uris = [...new Set(filter.resourceSubscriptions)];
    const tag = { _meta: { [SUBSCRIPTION_ID_META_KEY]: id } };
    const tell = ({ method, params: about }: Notice | Acknowledged): Promise<void> =>
      notify({ jsonrpc: "2.0", method, params: { ...about, ...tag } });

    await using opened = new AsyncDisposableStack();
    opened.use(claim(grant, Math.max(1, uris.length)));
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const end = (): void => resolve();
    ends.add(end);
    opened.defer(() => void ends.delete(end));
    signal.addEventListener("abort", end, { once: true });
    opened.defer(() => signal.removeEventListener("abort", end));
    const lists = toLists(filter);
    const following = opened.use(notices.follow({ grant: () => grant, lists, tell, onDead: end }));
    const honoured = await follow(uris, request, following, opened);
    opened.defer(() => following[Symbol.dispose]()); // Before the sources let go, which may take a while.
    if (signal.aborted || hasEnded) end();
    else {
      const notifications = toHonoured(lists, honoured);
      await tell({ method: "notifications/subscriptions/acknowledged", params: { notifications } });
      following.begin();
    }
    return { tag, over, opened: opened.move() };
  }

  async function stay({ tag, over, opened }: Begun): Promise<object> {
    await over;
    await opened.disposeAsync();
    return tag;
  }

  /** Follows what can be followed, all at once, and says what that is. */
  async function follow(
    uris: readonly string[],
    request: ReadingRequest,
    following: Following,
    opened: AsyncDisposableStack,
  ): Promise<readonly string[]> {
    const followed = await Promise.allSettled(
      uris.map(async (uri) => {
        const notice = toUpdate(uri);
        const asked = { ...request, callId: newId("call"), uri };
        opened.use(await door.subscribe(asked, () => following.mark(notice)));
      }),
    );
    return uris.filter((_, index) => followed[index]?.status === "fulfilled");
  }

  return {
    claim,
    listen(listening) {
      const listened = begin(listening)
        .then(stay)
        .catch((thrown: unknown) => {
          throw thrown instanceof ProtocolError ? thrown : toProtocolError(thrown);
        });
      running.add(listened);
      return listened.finally(() => running.delete(listened));
    },
    async end() {
      hasEnded = true;
      for (const end of ends) end();
      await Promise.allSettled(running);
    },
  };
}

/** A subscription that is open until `over` resolves. */
interface Begun {
  readonly tag: object;
  readonly over: Promise<void>;
  readonly opened: AsyncDisposableStack;
}

/** What a subscription is told first. */
interface Acknowledged {
  readonly method: "notifications/subscriptions/acknowledged";
  readonly params: { readonly notifications: Filter };
}

/** The notice that a resource was updated. */
export function toUpdate(uri: string): Notice {
  return { method: "notifications/resources/updated", params: { uri } };
}

function toFilter(params: unknown): Filter {
  const fitted = Listen.safeParse(params);
  if (fitted.success) return fitted.data.notifications;
  const expected =
    "{notifications} with toolsListChanged, resourcesListChanged and promptsListChanged (true or false) and resourceSubscriptions (a list of URIs)";
  throw new ProtocolError(ProtocolErrorCode.InvalidParams, `The params must be ${expected}.`);
}

function toLists(filter: Filter): readonly ToolboxChange[] {
  const all = ["tools", "resources", "prompts"] as const;
  return all.filter((list) => filter[`${list}ListChanged`] === true);
}

function toHonoured(lists: readonly ToolboxChange[], uris: readonly string[]): Filter {
  return {
    ...Object.fromEntries(lists.map((list) => [`${list}ListChanged`, true])),
    ...(uris.length === 0 ? {} : { resourceSubscriptions: [...uris] }),
  };
}

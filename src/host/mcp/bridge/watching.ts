import { CapstanError } from "../../../core/error.ts";
import { within } from "../connection/wait.ts";
import type { Connection, ServerChange } from "../connection/connection.ts";

/** How many resources of one server may be watched for one principal. */
const maxWatched = 1_000;
/** How long a server may take to be told that nobody watches any more. */
const unsubscribeMs = 5_000;

/** The resources of one connection that somebody wants to hear of: each is subscribed to once, for however many. */
export interface Watching {
  /** How many are watched. */
  readonly count: () => number;
  /**
   * By the server's own URI. Resolves when the server has agreed; without effect where it offers no subscriptions. Throws `mcp.*`,
   * `mcp.server_error` beyond 1,000 resources.
   */
  watch(uri: string, signal: AbortSignal, onUpdate: () => void): Promise<AsyncDisposable>;
  onChange(change: ServerChange): void;
}

export function openWatching(server: string, connection: Connection): Watching {
  const listeners = new Map<string, Set<() => void>>();
  const subscribed = new Set<string>();
  let wasDown = false;
  /** One change of a subscription after the other, so that the last one is the one that counts. */
  const last = new Map<string, Promise<void>>();

  function inOrder(uri: string, change: () => Promise<void>): Promise<void> {
    const done = (last.get(uri) ?? Promise.resolve()).catch(() => {}).then(change);
    last.set(uri, done);
    const forget = (): void => void (last.get(uri) === done && last.delete(uri));
    done.then(forget, forget);
    return done;
  }

  async function subscribe(uri: string, signal: AbortSignal): Promise<void> {
    if (subscribed.has(uri)) return;
    const { resources } = connection.capabilities() ?? {};
    if (resources !== undefined && resources.subscribe !== true) return;
    await connection.subscribe(uri, signal);
    subscribed.add(uri);
  }

  async function leave(uri: string, own: () => void): Promise<void> {
    const heard = listeners.get(uri);
    if (heard?.delete(own) !== true || heard.size > 0) return;
    listeners.delete(uri);
    await inOrder(uri, async () => {
      if (listeners.has(uri) || !subscribed.delete(uri)) return;
      await connection.unsubscribe(uri, AbortSignal.timeout(unsubscribeMs));
    });
  }

  return {
    count: () => listeners.size,
    async watch(uri, signal, onUpdate) {
      const own = (): void => onUpdate();
      const heard = listeners.get(uri) ?? new Set();
      if (heard.size === 0 && listeners.size >= maxWatched) {
        const text = `${maxWatched} resources of the MCP server ${server} are watched already. End other subscriptions first.`;
        throw new CapstanError("mcp.server_error", text, { details: { server } });
      }
      listeners.set(uri, heard.add(own));
      try {
        await within(
          inOrder(uri, () => subscribe(uri, signal)),
          signal,
        );
      } catch (thrown) {
        await leave(uri, own).catch(() => {});
        throw thrown;
      }
      // A server that is gone has forgotten it by itself.
      return { [Symbol.asyncDispose]: async () => await leave(uri, own).catch(() => {}) };
    },
    onChange(change) {
      const isBack = wasDown && change.type === "up";
      if (change.type === "down" || change.type === "up") wasDown = change.type === "down";
      // What changed while the server was away was told to nobody.
      const uris = isBack ? [...listeners.keys()] : change.type === "resource" ? [change.uri] : [];
      for (const uri of uris) for (const listener of [...(listeners.get(uri) ?? [])]) listener();
    },
  };
}

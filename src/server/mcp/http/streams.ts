import type { ServerResponse } from "node:http";
import type { Grant } from "../../../permissions/grant.ts";
import type { Permissions } from "../../../permissions/permissions.ts";

/** How soon after its grant's end a stream ends. */
const checkMs = 2_000;
/** A stream on which nothing comes says so this often: proxies and clients give up on silence. */
const keepAliveMs = 25_000;

/** The streams that stay open on their own: notices of sessions, HTTP+SSE, subscriptions. */
export interface Streams {
  readonly size: number;
  /** Holds a stream until it closes. `end` is called when its grant has ended, or the server ends: it must end the stream. */
  hold(response: ServerResponse, grant: Grant, end: () => void): void;
  /** Ends all of them. */
  close(): void;
}

interface Held {
  readonly grant: Grant;
  readonly end: () => void;
}

/**
 * Opens the care for streams: one timer for all of them. A stream lives as long as the grant of its request, and the grant that the
 * server itself was started with where there is one (`own`). `onTick` is called with each round.
 */
export function openStreams(permissions: Permissions, own: Grant | null, onTick: () => void): Streams {
  const held = new Map<ServerResponse, Held>();
  let saidAt = performance.now();

  const isLive = (grant: Grant): boolean => {
    try {
      permissions.demandLive(grant);
      return true;
    } catch {
      return false;
    }
  };

  async function check(): Promise<void> {
    onTick();
    // A list of revoked grants that can't be read is refused by `demandLive` once it is too old.
    await permissions.refresh().catch(() => {});
    const isOwnLive = own === null || isLive(own);
    const isSilent = performance.now() - saidAt >= keepAliveMs;
    if (isSilent) saidAt = performance.now();
    for (const [response, { grant, end }] of held) {
      if (!isOwnLive || !isLive(grant)) end();
      // Who does not even read these gets no more of them.
      else if (isSilent && response.headersSent && response.writableLength === 0) response.write(":\n\n");
    }
  }

  const timer = setInterval(() => void check(), checkMs).unref();
  return {
    get size() {
      return held.size;
    },
    hold(response, grant, end) {
      held.set(response, { grant, end });
      // The token and all else that its request said has done its work.
      response.req.headers = {};
      response.req.rawHeaders = [];
      response.once("close", () => held.delete(response));
    },
    close() {
      clearInterval(timer);
      for (const { end } of held.values()) end();
    },
  };
}

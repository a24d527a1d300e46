import type { ServerCapabilities } from "@modelcontextprotocol/client";
import { CapstanError } from "../../../core/error.ts";
import type { JsonObject } from "../../../core/json.ts";
import type { LogEntry } from "../../../tools/tool.ts";
import { sleep } from "../../sleep.ts";
import type { Peer } from "./peer.ts";
import type { ServerChange } from "./connection.ts";

const pauseMs = { first: 250, longest: 30_000 };

/** What a notification of a server tells of; undefined where it tells of no change. */
export function toChange(method: string, params: JsonObject): ServerChange | undefined {
  switch (method) {
    case "notifications/tools/list_changed":
      return { type: "tools" };
    case "notifications/prompts/list_changed":
      return { type: "prompts" };
    case "notifications/resources/list_changed":
      return { type: "resources" };
    case "notifications/resources/updated":
      return typeof params["uri"] === "string" ? { type: "resource", uri: params["uri"] } : undefined;
    default:
      return undefined;
  }
}

const levels = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"] as const;

/** The log line that a notification holds; undefined where it holds none. */
export function toLogEntry(method: string, { level, data = null, logger }: JsonObject): LogEntry | undefined {
  const known = levels.find((one) => one === level);
  if (method !== "notifications/message" || known === undefined) return undefined;
  return { level: known, data, ...(typeof logger === "string" ? { logger } : {}) };
}

/** What is being followed at one server. */
export interface Following {
  /** What is to be followed changed. Resolves when the server has acknowledged that; rejects with what it says against it. */
  refresh(): Promise<void>;
}

interface FollowServices {
  readonly peer: Peer;
  readonly capabilities: ServerCapabilities;
  readonly envelope: JsonObject;
  readonly tellsCancel: boolean;
  /** The URIs to follow now. */
  readonly uris: () => readonly string[];
  readonly emit: (change: ServerChange) => void;
  /** How long the server may take to acknowledge. */
  readonly timeoutMs: number;
  /** Ends it all. */
  readonly signal: AbortSignal;
}

/**
 * Follows the changes at a modern server over `subscriptions/listen`. A stream that breaks is opened again, and because nobody knows
 * what happened in between, everything counts as changed then. A new stream takes the place of the old one once it is acknowledged.
 */
export function followChanges(services: FollowServices): Following {
  const { peer, envelope, tellsCancel, uris, emit, timeoutMs, signal } = services;
  const lists = toLists(services.capabilities);
  let current: AbortController | undefined;
  let last: Promise<void> = Promise.resolve();

  /** One after the other: the stream that is opened last is the one that stays. */
  function open(): Promise<void> {
    last = last.catch(() => {}).then(openNow);
    return last;
  }

  async function openNow(): Promise<void> {
    const notifications: JsonObject = {
      ...lists,
      ...(uris().length === 0 ? {} : { resourceSubscriptions: [...uris()] }),
    };
    const previous = current;
    if (Object.keys(notifications).length === 0) {
      current = undefined;
      return previous?.abort();
    }
    const stream = new AbortController();
    const acknowledged = Promise.withResolvers<void>();
    const timer = setTimeout(
      () => stream.abort(new CapstanError("mcp.timeout", "The subscription was not acknowledged in time.")),
      timeoutMs,
    );
    const ended = peer.request(
      "subscriptions/listen",
      { notifications, _meta: envelope },
      {
        signal: AbortSignal.any([signal, stream.signal]),
        tellsCancel,
        onNotification: (method) => {
          if (method === "notifications/subscriptions/acknowledged") acknowledged.resolve();
        },
      },
    );
    ended.then(
      () => acknowledged.reject(new CapstanError("mcp.protocol", "The subscription ended before it was acknowledged.")),
      acknowledged.reject,
    );
    await acknowledged.promise.finally(() => clearTimeout(timer));
    current = stream;
    previous?.abort();
    const onOver = (): void => {
      if (current === stream && !signal.aborted) reopen().catch(() => {});
    };
    ended.then(onOver, onOver);
  }

  async function reopen(): Promise<void> {
    current = undefined;
    for (let pause = pauseMs.first; !signal.aborted; pause = Math.min(pause * 2, pauseMs.longest)) {
      await sleep(pause, signal);
      if (current !== undefined) return;
      try {
        await open();
        for (const type of ["tools", "resources", "prompts"] as const) emit({ type });
        for (const uri of uris()) emit({ type: "resource", uri });
        return;
      } catch (thrown) {
        if (isUnknownMethod(thrown)) return;
      }
    }
  }

  open().catch((thrown: unknown) => {
    if (!isUnknownMethod(thrown) && !signal.aborted) reopen().catch(() => {});
  });
  return { refresh: open };
}

function isUnknownMethod(thrown: unknown): boolean {
  return thrown instanceof CapstanError && thrown.details["code"] === -32_601;
}

function toLists({ tools, prompts, resources }: ServerCapabilities): JsonObject {
  return {
    ...(tools?.listChanged === true ? { toolsListChanged: true } : {}),
    ...(prompts?.listChanged === true ? { promptsListChanged: true } : {}),
    ...(resources?.listChanged === true ? { resourcesListChanged: true } : {}),
  };
}

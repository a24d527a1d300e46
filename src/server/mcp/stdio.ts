import type { Readable, Writable } from "node:stream";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { toCapstanError } from "../../core/error.ts";
import type { Permissions } from "../../permissions/permissions.ts";
import type { Store } from "../../store/store.ts";
import type { Logger } from "../../host/telemetry/logger.ts";
import { observeDoor } from "../../host/telemetry/observe-door.ts";
import type { Door } from "../../tools/call.ts";
import { logConnection } from "./connection-log.ts";
import { type Dispatch, openDispatch } from "./dispatch.ts";
import { serveEras } from "./eras.ts";
import { openGrants, type ProcessGrant } from "./grants.ts";
import type { Offering } from "./offering.ts";
import { openNotices } from "./notices.ts";
import { openQuestions } from "./questions.ts";
import { openRefusals } from "./refusal.ts";
import { openTasks } from "./tasks/tasks.ts";
import { openWire } from "./wire.ts";

export interface StdioServices extends ProcessGrant {
  readonly door: Door;
  readonly permissions: Permissions;
  readonly store: Store;
  /** Capstan's version, as clients see it. */
  readonly version: string;
  readonly offering?: Offering | undefined;
  readonly input: Readable;
  readonly output: Writable;
  /** Gets a line for a person, on stderr or in a file; never on `output`. */
  readonly log: (line: string) => void;
  /** The log of the process; missing: it is off. */
  readonly logger?: Logger | undefined;
  /** Ends serving: calls in flight are cancelled and awaited. */
  readonly signal: AbortSignal;
}

const maxLogged = 200;
/** How long subscriptions may take to end when the server does. */
const lastWordsMs = 500;

/**
 * Serves MCP to one client over two streams, in both eras: the opening exchange selects revision 2026-07-28 or an older one. Resolves
 * when the connection has ended, for whatever reason, and nothing runs any more. Never rejects for what a client does.
 */
export async function serveStdio(services: StdioServices): Promise<void> {
  const { permissions, store, grant, version, offering, input, output, log, signal, logger } = services;
  const now = (): number => permissions.now();
  const door = observeDoor(services.door, logger, now);
  const recordRefusal = openRefusals({ store, now, owner: grant, logger });
  const grantFor = openGrants(permissions, services, recordRefusal);
  const notices = openNotices(services);
  const onError = (error: Error): void => log(`mcp: ${toLogText(error.message)}`);
  const onFault = (fault: unknown): void => onError(toCapstanError(fault));
  const tasks = openTasks({ door, permissions, store, offering, own: grant, onFault });
  const dispatch = openDispatch({
    door,
    permissions,
    version,
    offering,
    grantFor,
    recordRefusal,
    notices,
    tasks,
    questions: openQuestions(permissions),
  });
  using closing = openClosing(signal, dispatch);
  const wire = openWire({ input, output, signal: closing.signal });
  using _ = logConnection({ logger, now }, { transport: "stdio", grantId: grant.id });
  await serveEras(wire, { dispatch, opener: grant, onError });
  await dispatch.endSubscriptions();
  await tasks.end();
  await dispatch.settled();
}

/** Aborts after `signal` has, when subscriptions have got their last answer or took too long for it. */
function openClosing(signal: AbortSignal, dispatch: Dispatch): Disposable & { readonly signal: AbortSignal } {
  const closing = new AbortController();
  const onEnd = async (): Promise<void> => {
    await Promise.race([dispatch.endSubscriptions(), sleep(lastWordsMs, undefined, { ref: false })]);
    await nextTurn(); // What was answered last is written by now.
    closing.abort();
  };
  const onAbort = (): void => void onEnd().catch(() => closing.abort());
  if (signal.aborted) closing.abort();
  signal.addEventListener("abort", onAbort, { once: true });
  return { signal: closing.signal, [Symbol.dispose]: () => signal.removeEventListener("abort", onAbort) };
}

/** A text up to where it quotes the message of a client, which may hold a token or what a terminal obeys. */
function toLogText(message: string): string {
  return message.slice(0, maxLogged).replace(/[{\p{C}].*/su, "…");
}

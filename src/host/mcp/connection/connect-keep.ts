import { CapstanError } from "../../../core/error.ts";
import { sleep } from "../../sleep.ts";
import { followChanges, type Following } from "./changes.ts";
import { toEnvelope } from "./era.ts";
import { gone } from "./peer.ts";
import { openSession, type Session, type SessionServices, type Verdict } from "./session.ts";
import { within } from "./wait.ts";
import type { ServerChange } from "./connection.ts";

/** The pause before a server that went away is connected to again: doubled each time, back to the first after a healthy minute. */
const pauseMs = { first: 250, longest: 30_000 };
const healthyMs = 60_000;

/** A server that is there, and when that began. `following` is missing at legacy servers, which tell of changes unasked. */
export type Live = Session & { readonly following: Following | undefined; readonly since: number };

export interface KeepServices extends SessionServices {
  readonly emit: (change: ServerChange) => void;
  /** Whether anybody listens: then a server that went away is connected to again without a request. */
  readonly isHeard: () => boolean;
  /** The resources whose changes are to be followed. */
  readonly uris: () => readonly string[];
}

/** Keeps one server: connects at the first need, ends what is left of one that went away, and connects again. */
export interface Keeper extends AsyncDisposable {
  readonly current: () => Live | undefined;
  /** The server, connected to if it is not there. Throws `mcp.*`, and `mcp.timeout` after `timeoutMs`. */
  live(signal: AbortSignal, timeoutMs: number): Promise<Live>;
  /** A server that does not know us any more: the next `live` connects at once. */
  forget(server: Live, why: string): void;
}

export function openKeeper(services: KeepServices): Keeper {
  const { name, config, clock, version, log, emit, uris, isHeard } = services;
  const closing = new AbortController();
  let session: Live | undefined;
  let opening: Promise<Live> | undefined;
  let isReviving = false;
  let dying: Promise<void> = Promise.resolve();
  let verdict: Verdict | undefined;
  let failures = 0;
  let notBefore = 0;
  let lastFailure = gone(name, "was not connected to yet");

  async function live(signal: AbortSignal, timeoutMs: number): Promise<Live> {
    if (session !== undefined) return session;
    if (closing.signal.aborted) throw gone(name, "is no longer in use");
    opening ??= open().finally(() => (opening = undefined));
    const late = AbortSignal.timeout(timeoutMs);
    try {
      return await within(opening, AbortSignal.any([signal, late]));
    } catch (thrown) {
      if (thrown !== late.reason) throw thrown;
      const text = `The MCP server ${name} was not there within ${timeoutMs} ms. Nothing was asked of it. Try again, and look at its log.`;
      throw new CapstanError("mcp.timeout", text, { cause: thrown, details: { server: name } });
    }
  }

  async function open(): Promise<Live> {
    const pause = Math.max(notBefore - clock(), 0);
    if (pause > config.startTimeoutMs) throw waiting(lastFailure, pause);
    try {
      await sleep(pause, closing.signal);
      // One process at a time: the one before has ended, with all that it started.
      await dying;
      return begin(await openSession(services, verdict, closing.signal));
    } catch (thrown) {
      if (closing.signal.aborted) throw gone(name, "is no longer in use");
      verdict = undefined;
      if (isPassing(thrown)) {
        lastFailure = thrown;
        waitLonger();
        revive();
      }
      throw thrown;
    }
  }

  function begin(opened: Session): Live {
    const { peer, era, capabilities, hasOwnStreams, closed } = opened;
    const ended = new AbortController();
    const following =
      era === "legacy"
        ? undefined
        : followChanges({
            ...{ peer, capabilities, emit, uris, timeoutMs: config.timeoutMs, signal: ended.signal },
            envelope: toEnvelope(version, {}),
            tellsCancel: !hasOwnStreams,
          });
    const begun: Live = { ...opened, following, since: clock() };
    session = begun;
    verdict = opened.verdict;
    if (era === "legacy") subscribeAgain(begun);
    const onClosed = async (): Promise<void> => {
      const why = await closed;
      ended.abort();
      lose(begun, why);
    };
    onClosed().catch((thrown: unknown) => log(`its end was not in order: ${String(thrown)}`));
    emit({ type: "up" });
    return begun;
  }

  function subscribeAgain(server: Live): void {
    for (const uri of uris()) {
      server
        .send("resources/subscribe", { uri }, { signal: closing.signal, silenceMs: config.timeoutMs })
        .catch(() => log(`the subscription to ${uri} was lost`));
    }
  }

  /** What the server still runs is ended before it is started again. */
  function lose(lost: Live, why: string): void {
    if (session !== lost) return;
    session = undefined;
    dying = end(lost);
    if (closing.signal.aborted) return;
    log(why);
    if (clock() - lost.since >= healthyMs) failures = 0;
    lastFailure = gone(name, why);
    waitLonger();
    emit({ type: "down", why });
    revive();
  }

  async function end(lost: Live): Promise<void> {
    try {
      await lost[Symbol.asyncDispose]();
    } catch (thrown) {
      log(`its end was not in order: ${String(thrown)}`);
    }
  }

  function waitLonger(): void {
    notBefore = clock() + Math.min(pauseMs.first * 2 ** failures, pauseMs.longest);
    failures += 1;
  }

  function revive(): void {
    if (isReviving || !isHeard() || closing.signal.aborted) return;
    isReviving = true;
    keepTrying().then(
      () => (isReviving = false),
      () => (isReviving = false),
    );
  }

  async function keepTrying(): Promise<void> {
    const isMissing = (): boolean => session === undefined;
    while (isMissing() && isHeard()) {
      await sleep(Math.max(notBefore - clock(), pauseMs.first), closing.signal);
      try {
        await live(closing.signal, config.startTimeoutMs + pauseMs.longest);
      } catch (thrown) {
        if (!isPassing(thrown)) return;
      }
    }
  }

  return {
    current: () => session,
    live,
    forget(server, why) {
      lose(server, why);
      failures = 0;
      notBefore = 0;
    },
    async [Symbol.asyncDispose]() {
      closing.abort(gone(name, "is no longer in use"));
      await opening?.catch(() => {});
      if (session !== undefined) lose(session, "was closed");
      await dying;
    },
  };
}

/** Whether to try again may help, with nobody doing anything. */
function isPassing(thrown: unknown): thrown is CapstanError {
  const codes = ["mcp.start_failed", "mcp.server_gone", "mcp.timeout", "mcp.protocol", "mcp.server_error"];
  return thrown instanceof CapstanError && codes.includes(thrown.code);
}

function waiting(failure: CapstanError, ms: number): CapstanError {
  const text = `${failure.message} It failed repeatedly and is tried again in ${Math.ceil(ms / 1_000)} s.`;
  return new CapstanError(failure.code, text, { cause: failure, details: failure.details });
}

import { CapstanError, toText } from "../core/error.ts";
import type { PendingCall } from "../core/event.ts";
import { isShownWhole } from "../host/call-tool.ts";
import type { RunSignal } from "../host/world.ts";
import type { Grant } from "../permissions/grant.ts";
import type { Session } from "./command.ts";
import { toJsonText } from "./json.ts";
import type { ModelOptions } from "./run-options.ts";

/** Decides the calls of a run that wait, as far as that can be done here and now. */
export interface Asking {
  /** Passes on what a run shows, and holds it back while a person is asked. A call that comes to wait is asked about at once. */
  readonly onSignal: (signal: RunSignal) => void;
  /** Whether any of these calls was decided, so that the run can go on; each was asked about by then. */
  readonly settle: (pending: readonly PendingCall[]) => Promise<boolean>;
  /** The run has ended: what is still asked is withdrawn. */
  readonly end: () => Promise<void>;
}

/**
 * `--yes` approves what the grant marks, and never a call after untrusted content came in or one that is in doubt; a person at a terminal
 * is shown the exact call and asked, one after the other, while the rest of the run goes on. A token approves only what it may.
 */
export function openAsking(session: Session, options: ModelOptions, show: (signal: RunSignal) => void): Asking {
  const over = new AbortController();
  const signal = AbortSignal.any([session.signal, over.signal]);
  const asked = new Map<string, Promise<boolean>>();
  let last: Promise<unknown> = Promise.resolve();
  let held: RunSignal[] | null = null;

  function add(call: PendingCall): Promise<boolean> {
    const key = `${call.runId} ${call.callId}`;
    const known = asked.get(key);
    if (known !== undefined) return known;
    const decided = last.then(() => askFor(call));
    asked.set(key, decided);
    last = decided.catch(() => {}); // Thrown by `settle`.
    return decided;
  }

  async function askFor(call: PendingCall): Promise<boolean> {
    if (signal.aborted) return false;
    if (options.yes === true && call.why === "marked") return await decide(session, options, call, true);
    if (!process.stdin.isTTY || !process.stderr.isTTY) return false;
    // Whoever holds a token without that right is asked nothing.
    if (!mayApprove(await toApprover(session, options), call)) return false;
    const kept: RunSignal[] = (held = []);
    try {
      const answer = await ask(session, call, signal);
      return answer !== undefined && (await decide(session, options, call, answer));
    } finally {
      held = null;
      for (const told of kept) show(told);
    }
  }

  return {
    onSignal(told) {
      if (held === null) show(told);
      else held.push(told);
      if (told.type === "event" && told.event.type === "approval.requested") void add(told.event).catch(() => {});
    },
    async settle(pending) {
      const decided = await Promise.all(pending.map(add));
      asked.clear();
      return decided.includes(true);
    },
    async end() {
      over.abort();
      await last;
    },
  };
}

/** undefined: neither yes nor no. */
async function ask(
  { tell }: Session,
  { question, args }: PendingCall,
  signal: AbortSignal,
): Promise<boolean | undefined> {
  // Loaded when somebody is asked: most runs ask nothing.
  const { confirm, isCancel } = await import("@clack/prompts");
  tell(isShownWhole(args) ? question : `${question}\nAll of them: ${toJsonText(args)}`);
  const message = "Let this call run, once?";
  const said = await confirm({ message, initialValue: false, output: process.stderr, signal });
  return isCancel(said) ? undefined : said;
}

/** false: this person may not decide it, or it is too late. */
async function decide(
  session: Session,
  options: ModelOptions,
  { runId, callId }: PendingCall,
  isYes: boolean,
): Promise<boolean> {
  const { app, tell } = session;
  const approver = await toApprover(session, options);
  try {
    if (isYes) await app.host.approve(runId, callId, approver);
    else await app.host.deny(runId, callId, "A person said no.", approver);
    return true;
  } catch (thrown) {
    if (!(thrown instanceof CapstanError) || !/^(?:permission|run)\./.test(thrown.code)) throw thrown;
    tell(toText(thrown));
    return false;
  }
}

/** Whoever sits here is the operator, whatever narrower grant the run was given; under a token it is the token's holder. */
async function toApprover({ confined, grant }: Session, { as, ...flags }: ModelOptions): Promise<Grant> {
  return await grant(confined && as !== undefined ? { ...flags, as } : flags);
}

const mayApprove = ({ rights }: Grant, { name }: PendingCall): boolean => rights.approve.includes(name);

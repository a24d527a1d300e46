import type { Engine, Isolation } from "../engine.ts";
import { type Interpreter, interpreterOf } from "../guest/interpreters.ts";
import type { Guest } from "./guest.ts";
import { openNetworked } from "./networked.ts";
import { openPool } from "./pool.ts";
import { toSandbox } from "./sandbox.ts";

/** Guests of each interpreter that may be taken at a time, and guests with a network. */
const maxTaken = 16;

/**
 * The sandboxes of an engine that runs every language: `warm` guests of each interpreter are kept once it was used, and one that is to have
 * a network is started when it is wanted, with the socket of its proxy. `refillDelayMs` is as in pool.ts, `guestUid` as in networked.ts.
 */
export function openSandboxes(
  of: {
    readonly isolation: Isolation;
    readonly warm: number;
    readonly refillDelayMs?: number;
    readonly guestUid?: number | undefined;
  },
  boot: (interpreter: Interpreter, signal: AbortSignal, socketPath?: string) => Promise<Guest>,
): Pick<Engine, "open"> & AsyncDisposable {
  const { isolation, guestUid, ...waiting } = of;
  const closing = new AbortController();
  const open = (interpreter: Interpreter) => openPool({ ...waiting, maxTaken }, (signal) => boot(interpreter, signal));
  const pools = { python: open("python"), node: open("node") };
  const networked = openNetworked(
    { isolation: { ...isolation, network: `${isolation.network}, out of it by a proxy alone` }, maxTaken, guestUid },
    (language, socketPath, signal) => boot(interpreterOf[language], signal, socketPath),
  );
  return {
    async open(spec, signal) {
      if (spec.isNetworked === true) return await networked.open(spec, signal);
      return toSandbox(await pools[interpreterOf[spec.language]].take(signal), spec, isolation, closing.signal);
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      await Promise.all([networked, ...Object.values(pools)].map((part) => part[Symbol.asyncDispose]()));
    },
  };
}

import { tmpdir } from "node:os";
import { CapstanError } from "../../core/error.ts";
import { openSlots } from "../../core/slots.ts";
import { openEgress } from "../egress.ts";
import { sweepEgress } from "../egress/sweep.ts";
import type { Engine, Isolation, Language } from "../engine.ts";
import type { Guest } from "./guest.ts";
import { openPool } from "./pool.ts";
import { toSandbox } from "./sandbox.ts";

/**
 * Sandboxes that have a way out while they run, each with a proxy of its own; none waits ready, since a guest is started with the proxy's
 * socket in it. `boot` starts one. At most `maxTaken` at a time; who wants one more waits. `guestUid`: whom the socket is for, where it is
 * not for this user.
 */
export function openNetworked(
  of: { readonly isolation: Isolation; readonly maxTaken: number; readonly guestUid?: number | undefined },
  boot: (language: Language, socketPath: string, signal: AbortSignal) => Promise<Guest>,
): Pick<Engine, "open"> & AsyncDisposable {
  const { isolation, maxTaken, guestUid } = of;
  const folder = tmpdir();
  const closing = new AbortController();
  let sweeping: Promise<void> | undefined;
  const slots = openSlots(maxTaken);
  const living = new Set<AsyncDisposable>();
  return {
    async open(spec, signal) {
      await using opened = new AsyncDisposableStack();
      const stop = AbortSignal.any([signal, closing.signal]);
      opened.defer(await slots.take(stop));
      await (sweeping ??= sweepEgress(folder));
      const egress = opened.use(await openEgress({ folder, guestUid }));
      const start = (end: AbortSignal) => boot(spec.language, egress.socketPath, end);
      const pool = opened.use(openPool({ warm: 0, maxTaken: 1 }, start));
      const sandbox = opened.use(toSandbox(await pool.take(stop), spec, isolation, closing.signal));
      stop.throwIfAborted();
      const owned = opened.move();
      living.add(owned);
      return {
        async run(request, end) {
          using _ = egress.begin(request);
          return await sandbox.run(request, end);
        },
        async [Symbol.asyncDispose]() {
          await owned.disposeAsync();
          living.delete(owned);
        },
      };
    },
    async [Symbol.asyncDispose]() {
      closing.abort(new CapstanError("sandbox.unavailable", "The engine is closed."));
      await Promise.all([...living].map((one) => one[Symbol.asyncDispose]()));
    },
  };
}

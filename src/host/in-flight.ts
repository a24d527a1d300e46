/** The work that one driver has begun and not ended, by the id of its command. */
export interface InFlight extends Disposable {
  /** Begins work, unless work of that id is in flight. */
  start(id: string, begin: () => Promise<void>): void;
  isEmpty(): boolean;
  /** Counts as a rejection of work. */
  fail(reason: unknown): void;
  /** The first rejection of any work; null while there is none. */
  failure(): { readonly reason: unknown } | null;
  /** Resolves when some work has ended since the last call, on `wake`, and from time to time. Never rejects. */
  next(): Promise<void>;
  /** Resolves when nothing is in flight. Never rejects. */
  settled(): Promise<void>;
  readonly wake: () => void;
}

/** `wakeMs`: how often `next` resolves at least. Disposing ends that. */
export function openInFlight(wakeMs: number): InFlight {
  const running = new Map<string, Promise<void>>();
  let failure: { readonly reason: unknown } | null = null;
  let woken = Promise.withResolvers<void>();
  const timer = setInterval(() => woken.resolve(), wakeMs);

  async function track(id: string, begin: () => Promise<void>): Promise<void> {
    try {
      await begin();
    } catch (reason) {
      failure ??= { reason };
    } finally {
      running.delete(id);
      woken.resolve();
    }
  }

  return {
    start(id, begin) {
      if (!running.has(id)) running.set(id, track(id, begin));
    },
    isEmpty: () => running.size === 0,
    fail(reason) {
      failure ??= { reason };
      woken.resolve();
    },
    failure: () => failure,
    async next() {
      await woken.promise;
      woken = Promise.withResolvers<void>();
    },
    async settled() {
      while (running.size > 0) await Promise.all(running.values());
    },
    wake: () => woken.resolve(),
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

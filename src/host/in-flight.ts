/** The work that one driver has begun and not ended, by the id of its command. */
export interface InFlight {
  /** Begins work, unless work of that id is in flight. */
  start(id: string, begin: () => Promise<void>): void;
  isEmpty(): boolean;
  /** Counts as a rejection of work. */
  fail(reason: unknown): void;
  /** The first rejection of any work; null while there is none. */
  failure(): { readonly reason: unknown } | null;
  /** Resolves when some work has ended since the last call, on `wake`, or after `ms`. Never rejects. */
  next(ms: number): Promise<void>;
  /** Resolves when nothing is in flight. Never rejects. */
  settled(): Promise<void>;
  readonly wake: () => void;
}

export function openInFlight(): InFlight {
  const running = new Map<string, Promise<void>>();
  let failure: { readonly reason: unknown } | null = null;
  let woken = Promise.withResolvers<void>();

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
    async next(ms) {
      const timer = setTimeout(() => woken.resolve(), ms);
      await woken.promise;
      clearTimeout(timer);
      woken = Promise.withResolvers<void>();
    },
    async settled() {
      while (running.size > 0) await Promise.all(running.values());
    },
    wake: () => woken.resolve(),
  };
}

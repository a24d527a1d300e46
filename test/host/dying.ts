import { CapstanError } from "../../src/core/error.ts";
import type { Store } from "../../src/store/store.ts";

/** A store whose process is gone after so many commits: nothing that comes later is written. `made` counts those that were. */
export function dyingAfter(store: Store, commits: number): { readonly store: Store; readonly made: () => number } {
  let made = 0;
  return {
    store: {
      ...store,
      async commit(batch) {
        if (made === commits) throw new CapstanError("store.unavailable", "The process is gone.");
        made += 1;
        await store.commit(batch);
      },
    },
    made: () => made,
  };
}

import { CapstanError } from "../core/error.ts";
import type { Run } from "../core/run.ts";
import type { Store } from "../store/store.ts";
import type { Provider } from "./provider.ts";

/**
 * Whether a run is only to be brought to its end, by the word of a person that stands in its inbox. That takes neither a model nor a grant
 * that is still good: whoever has ended the one can end the other.
 */
export async function isToEnd({ scope, runId }: Run, store: Store): Promise<boolean> {
  const items = await store.inbox(scope, runId);
  return items.some(({ input }) => input?.type === "cancel");
}

/** The model of a run that only ends: nobody asks it. */
export const unasked: Provider = {
  name: "none",
  identity: "none",
  metered: false,
  stream() {
    throw new CapstanError("provider.unavailable", "The run is to end, so its model is not asked.");
  },
};

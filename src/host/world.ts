import type { Clock } from "../core/clock.ts";
import type { Event, ModelNotice, ModelSettings } from "../core/event.ts";
import type { Grant } from "../permissions/grant.ts";
import type { Permissions } from "../permissions/permissions.ts";
import type { Store } from "../store/store.ts";
import type { Door } from "../tools/call.ts";
import type { Price } from "./config.ts";
import type { RunLog } from "./log.ts";
import type { Retries } from "./policies/config.ts";
import type { Provider } from "./provider.ts";

/** What a run shows while it goes on. Only `event` is on record; the rest is gone once it is said. */
export type RunSignal =
  | { readonly type: "event"; readonly event: Event }
  | { readonly type: "text.delta"; readonly text: string }
  | { readonly type: "reasoning.delta"; readonly text: string }
  /** What happened on the way to a model's answer. What was streamed before a `retry` or a `failover` is void. */
  | { readonly type: "notice"; readonly notice: ModelNotice }
  /** The run goes on with a conversation: which, and the run before it with the beginning of its task. */
  | { readonly type: "conversation"; readonly conversation: string; readonly runId: string; readonly task: string }
  /** A sentence for a person. */
  | { readonly type: "progress"; readonly text: string };

/** All that driving one run needs from around it. */
export interface World {
  readonly store: Store;
  readonly door: Door;
  readonly permissions: Permissions;
  readonly clock: Clock;
  /** Waits; rejects with the signal's reason. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly provider: Provider;
  /** The model's name, without the provider's. */
  readonly model: string;
  /** Of the run's model; of a route, the highest of its models. */
  readonly price?: Price | undefined;
  /** Of any model, as in `--model`. */
  readonly priceOf: (model: string) => Price | undefined;
  /** What the config says of every answer; the run's own settings stand before it. */
  readonly settings: ModelSettings;
  readonly retries: Retries;
  readonly onFault: (fault: unknown) => void;
  /** What the run may do, as of now. */
  readonly grant: Grant;
  /** How many calls are nested around those of the run. */
  readonly depth: number;
  /** Must not throw. */
  readonly onSignal: (signal: RunSignal) => void;
  /** Acts within the span of a call. */
  readonly within: <T>(callId: string, act: () => Promise<T>) => Promise<T>;
}

/** What one command of a run is performed with. */
export interface Work {
  readonly world: World;
  readonly log: RunLog;
  /** The person's own: once it is aborted, nothing is concluded and the run can go on later. */
  readonly signal: AbortSignal;
  /** Aborts with `signal`, and when the run ends by a limit or by a person's word; its reason is a CapstanError then. */
  readonly halt: AbortSignal;
}

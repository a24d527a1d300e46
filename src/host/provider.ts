import type { AnswerPart, ModelNotice, ModelSettings, ModelTool, RawAnswer, Stop, Usage } from "../core/event.ts";
import type { JsonSchema } from "../core/json.ts";
import type { ContextMessage } from "../core/run.ts";

export interface ModelRequest {
  /** The model's name, without the provider's. */
  readonly model: string;
  readonly system?: string;
  /** The user's task, what came with it, such as stdin, and what was said and done since; before it those of earlier runs. */
  readonly messages: readonly ContextMessage[];
  /** The place of the task among the messages; missing: the first. */
  readonly taskAt?: number;
  readonly tools: readonly ModelTool[];
  readonly settings: ModelSettings;
  /** The answer must be JSON of this schema; a provider that can enforce it does, the host checks it in any case. */
  readonly answerSchema?: JsonSchema;
  /** How many tokens the model takes in, where that is known. */
  readonly windowTokens?: number;
  /** The same for every call of one run, so that a provider can find its prompt cache. */
  readonly cacheKey?: string;
}

/** The normalized stream of one model call. `message.ended` is its last event; a stream that ends without it was interrupted. */
export type ModelEvent =
  /** A call is sent now, and what comes from here on is of its answer. It comes again before another one; before it all is waiting. */
  | { readonly type: "message.started" }
  | { readonly type: "text.delta"; readonly text: string }
  | { readonly type: "reasoning.delta"; readonly text: string }
  /** `callId` is the provider's own, or made up where it has none; `index` counts the calls of the message from 0. */
  | { readonly type: "tool.started"; readonly callId: string; readonly name: string; readonly index: number }
  | { readonly type: "tool.delta"; readonly callId: string; readonly text: string }
  /** The call is complete. It is performed after `message.ended`, if that has it among its parts: a refusal has none. */
  | { readonly type: "tool.ready"; readonly callId: string; readonly name: string; readonly argumentsText: string }
  /** From a policy around the provider. What was streamed before a `retry` or a `failover` is void. */
  | { readonly type: "notice"; readonly notice: ModelNotice }
  | {
      readonly type: "message.ended";
      /** Complete, with the provider's own call ids; the driver gives each call an id of the run. */
      readonly parts: readonly AnswerPart[];
      readonly stop: Stop;
      readonly usage: Usage;
      /** Its tool calls are those of `parts`, in the same order. */
      readonly raw?: RawAnswer;
      /** The model that answered, as in `--model`, where a policy asked another one. */
      readonly model?: string;
    };

/**
 * A source of model turns. A new one is one file in `providers/` and one line in `all.ts`. Policies (retry, rate limit, failover, cache, …)
 * are functions from Provider to Provider.
 */
export interface Provider {
  readonly name: string;
  /** false: there is no model behind it, so nothing is reserved before a call. */
  readonly metered: boolean;
  /** A hash of what its answers depend on besides the request: wire, base URL and credential. */
  readonly identity: string;
  /** What of a request's settings this provider can't say, in sentences for the user; empty: all is well. */
  validate?(request: Pick<ModelRequest, "model" | "settings" | "answerSchema">): readonly string[];
  /** Throws `provider.*`; aborting `signal` rejects with its reason. Never retries by itself. */
  stream(request: ModelRequest, signal: AbortSignal): AsyncIterable<ModelEvent>;
}

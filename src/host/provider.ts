import type { AnswerPart, Stop, Usage } from "../core/event.ts";
import type { Json, JsonSchema } from "../core/json.ts";
import type { ContextMessage } from "../core/run.ts";

interface ModelTool {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: JsonSchema;
}

export interface ModelRequest {
  /** The model's name, without the provider's. */
  readonly model: string;
  readonly system?: string;
  /** The first is the user's task; what came from outside, such as stdin, stands in later ones. */
  readonly messages: readonly ContextMessage[];
  readonly tools: readonly ModelTool[];
  readonly maxOutputTokens?: number;
  readonly temperature?: number;
}

/** The normalized stream of one model call. `message.ended` is its last event; a stream that ends without it was interrupted. */
export type ModelEvent =
  | { readonly type: "text.delta"; readonly text: string }
  | { readonly type: "reasoning.delta"; readonly text: string }
  | { readonly type: "tool.started"; readonly callId: string; readonly name: string }
  | { readonly type: "tool.ready"; readonly callId: string; readonly name: string; readonly argumentsText: string }
  | {
      readonly type: "message.ended";
      /** Complete, with the provider's own call ids; the driver gives each call an id of the run. */
      readonly parts: readonly AnswerPart[];
      readonly stop: Stop;
      readonly usage: Usage;
      readonly raw?: Json;
    };

/** A source of model turns. A new one is one file in `providers/` and one line in `all.ts`. */
export interface Provider {
  readonly name: string;
  /** false: there is no model behind it, so nothing is reserved before a call. */
  readonly metered: boolean;
  /** Throws `provider.*`; aborting `signal` rejects with its reason. Never retries: `decide` does. */
  stream(request: ModelRequest, signal: AbortSignal): AsyncIterable<ModelEvent>;
}

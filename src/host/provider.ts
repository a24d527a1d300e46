import type { AnswerPart, Block, Stop, ToolOutcome, Usage } from "../core/event.ts";
import type { Json, JsonSchema } from "../core/json.ts";

/** One message of a model's context. `parts` of an assistant message are what it said; `raw` goes back to the same provider verbatim. */
export type ContextMessage =
  | { readonly role: "user"; readonly content: readonly Block[] }
  | {
      readonly role: "assistant";
      readonly parts: readonly AnswerPart[];
      readonly provider: string;
      readonly raw?: Json;
    }
  | { readonly role: "tool"; readonly callId: string; readonly name: string; readonly outcome: ToolOutcome };

export interface ModelTool {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: JsonSchema;
}

export interface ModelRequest {
  /** The model's name, without the provider's. */
  readonly model: string;
  readonly system?: string;
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
      readonly parts: readonly AnswerPart[];
      readonly stop: Stop;
      readonly usage: Usage;
      readonly raw?: Json;
    };

/** A source of model turns. A new one is one file in `providers/` and one line in `all.ts`. */
export interface Provider {
  readonly name: string;
  /** Throws `provider.*`; aborting `signal` rejects with its reason. Never retries: policies do. */
  stream(request: ModelRequest, signal: AbortSignal): AsyncIterable<ModelEvent>;
}

import type { Json, JsonObject } from "../core/json.ts";
import type { Taint } from "../core/taint.ts";
import type { Caller } from "./call.ts";
import type { Prompt, PromptOutcome } from "./prompt.ts";
import type { CompletionRequest, ReadOutcome, Resource, ResourceTemplate } from "./resource.ts";
import type { Answerer, LogEntry, Progress } from "./tool.ts";

/** One reading, as a tool call is one: the same id is charged and audited once. */
export interface ReadingRequest {
  readonly caller: Caller;
  readonly callId: string;
  readonly signal: AbortSignal;
  readonly resumed?: { readonly responses: JsonObject; readonly state: Json };
  readonly progress?: (progress: Progress) => void;
  readonly log?: (entry: LogEntry) => void;
  /** Missing: nobody answers what the reading asks. */
  readonly answerer?: Answerer;
}

/**
 * The part of the door where resources and prompts are read. What the grant does not allow, what another principal owns and what does
 * not exist answer alike: `resource.unknown`, `prompt.unknown`. Readings are charged as one call, and by their bytes where those are
 * limited; completions and lists are not. All but lists leave one audit row, refused or not (`resources/read`, `prompts/get`,
 * `completion/complete`, `resources/subscribe`). What is listed may be read; a source that fails takes only its own list away.
 */
export interface Reading {
  listResources(request: ReadingRequest): Promise<readonly Resource[]>;
  /** Those by which the grant may read something, as far as the beginning of their URIs tells. */
  listTemplates(request: ReadingRequest): Promise<readonly ResourceTemplate[]>;
  readResource(
    request: ReadingRequest & { readonly uri: string },
  ): Promise<{ readonly outcome: NonNullable<ReadOutcome>; readonly taint: Taint }>;
  /** Calls `onUpdate` after each change until it is disposed or the grant ends, which ends the subscription too. */
  subscribe(request: ReadingRequest & { readonly uri: string }, onUpdate: () => void): Promise<AsyncDisposable>;
  listPrompts(request: ReadingRequest): Promise<readonly Prompt[]>;
  getPrompt(
    request: ReadingRequest & { readonly name: string; readonly args: Readonly<Record<string, string>> },
  ): Promise<{ readonly outcome: PromptOutcome; readonly taint: Taint }>;
  /** At most 100 values, only such as lead to what the grant may read; none where the source suggests none. */
  complete(
    request: ReadingRequest & {
      readonly of: { readonly prompt: string } | { readonly uriTemplate: string };
      readonly completion: CompletionRequest;
    },
  ): Promise<readonly string[]>;
}

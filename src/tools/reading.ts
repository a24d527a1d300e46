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
 * not exist answer alike: `resource.unknown`, `prompt.unknown`. Readings are charged as one call, completions and lists are not; all
 * but lists leave an audit row, refused or not (`resources/read`, `prompts/get`, `completion/complete`, `resources/subscribe`).
 */
export interface Reading {
  listResources(request: ReadingRequest): Promise<readonly Resource[]>;
  listTemplates(request: ReadingRequest): Promise<readonly ResourceTemplate[]>;
  readResource(
    request: ReadingRequest & { readonly uri: string },
  ): Promise<{ readonly outcome: NonNullable<ReadOutcome>; readonly taint: Taint }>;
  /** Calls `onUpdate` after each change until it is disposed or the grant dies. */
  subscribe(request: ReadingRequest & { readonly uri: string }, onUpdate: () => void): Promise<AsyncDisposable>;
  listPrompts(request: ReadingRequest): Promise<readonly Prompt[]>;
  getPrompt(
    request: ReadingRequest & { readonly name: string; readonly args: Readonly<Record<string, string>> },
  ): Promise<{ readonly outcome: PromptOutcome; readonly taint: Taint }>;
  /** At most 100 values; none where the source suggests none. */
  complete(
    request: ReadingRequest & {
      readonly of: { readonly prompt: string } | { readonly uriTemplate: string };
      readonly completion: CompletionRequest;
    },
  ): Promise<readonly string[]>;
}

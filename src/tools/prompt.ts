import type { Block } from "../core/event.ts";
import type { Taint } from "../core/taint.ts";
import type { CompletionRequest, SourceContext } from "./resource.ts";
import type { Outcome } from "./tool.ts";

/** A prompt as lists show it. */
export interface Prompt {
  readonly name: string;
  readonly title?: string;
  readonly description?: string;
  readonly arguments: readonly { readonly name: string; readonly description?: string; readonly required: boolean }[];
}

/** How getting a prompt ended: messages for a model. Waits as a tool does. */
export type PromptOutcome =
  | {
      readonly type: "done";
      readonly description?: string;
      readonly messages: readonly { readonly role: "user" | "assistant"; readonly content: Block }[];
      readonly taint?: Taint;
    }
  | Omit<Extract<Outcome, { type: "waiting" }>, "durable">;

/** Where prompts come from: the config, a server behind. */
export interface PromptSource {
  readonly name: string;
  /** False for a name that none of its prompts can have, for which it is not asked. Missing: any. */
  mayHave?(name: string): boolean;
  list(context: SourceContext): Promise<readonly Prompt[]>;
  /** Throws `tool.bad_arguments`. Asked only for what it lists. */
  get(name: string, args: Readonly<Record<string, string>>, context: SourceContext): Promise<PromptOutcome>;
  complete?(name: string, request: CompletionRequest, context: SourceContext): Promise<readonly string[]>;
}

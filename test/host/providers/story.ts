import type { Stop, Usage } from "../../../src/core/event.ts";
import type { JsonSchema } from "../../../src/core/json.ts";
import type { ModelSettings } from "../../../src/core/event.ts";
import type { Dialect } from "../../../src/host/providers/wire.ts";

/** What a model says, in no dialect; texts and arguments come in pieces. */
export type Said =
  | { readonly type: "text"; readonly pieces: readonly string[] }
  | { readonly type: "reasoning"; readonly pieces: readonly string[] }
  | { readonly type: "call"; readonly id: string; readonly name: string; readonly pieces: readonly string[] }
  /** PNG, base64. */
  | { readonly type: "image"; readonly data: string };

/** One answer of a model, in no dialect. */
export interface Story {
  readonly said: readonly Said[];
  /** The dialect's own word for why the answer ended. Missing: its ordinary one, for an end or for calls. */
  readonly reason?: string;
  /** What was used, in disjoint counts: a dialect adds up what it counts together. Missing: some of everything that it can count. */
  readonly usage?: Usage;
}

/** What a request asked for, in no dialect. */
export interface Heard {
  readonly model: unknown;
  readonly system: string | undefined;
  readonly turns: readonly HeardTurn[];
  /** Their names. */
  readonly tools: readonly string[];
  /** The settings as the body says them. */
  readonly settings: ModelSettings;
  readonly answerSchema: JsonSchema | undefined;
}

export type HeardTurn =
  /** Texts that stand together are one, joined by an empty line; images are base64. */
  | { readonly role: "user"; readonly text: string; readonly images: readonly string[] }
  | { readonly role: "assistant"; readonly text: string; readonly calls: readonly HeardCall[] }
  /** `id` is the name of the tool where the dialect knows no ids. */
  | { readonly role: "tool"; readonly id: string; readonly text: string; readonly images: readonly string[] };

export interface HeardCall {
  /** The name of the tool where the dialect knows no ids. */
  readonly id: string;
  readonly name: string;
  readonly args: unknown;
}

/** A dialect as the conformance suite speaks and reads it: one row of its table. */
export interface SpokenWire {
  readonly dialect: Dialect;
  /** The end of the URL that is called. */
  readonly path: string;
  /** The header that carries this key. */
  readonly keyHeader: (key: string) => readonly [name: string, value: string];
  /** A story as the bytes of a streamed answer. Each piece is a chunk of its own, so far as the dialect has such. */
  readonly encode: (story: Story) => string;
  /** Everything after this text of the encoded answer is its end: cut before it, the answer is incomplete; cut after it, it may count. */
  readonly endsAt: string;
  readonly hear: (body: unknown) => Heard;
  /** An id of the run for a call as the dialect says it; the name of the tool, `echo`, where it knows no ids. */
  readonly idOf: (ours: string) => string;
  /** What the dialect can tell of these counts. */
  readonly counts: (usage: Usage) => Usage;
  /** Its words for why an answer ended, beside the ordinary ones, and what they mean. */
  readonly reasons: readonly (readonly [reason: string, stop: Stop])[];
  /** An answer that refuses, in the dialect's own way; missing: it has none beside `reasons`. */
  readonly refusal?: (words: string) => string;
  /** An error that comes in a stream which had begun well, and its code. */
  readonly errors: readonly (readonly [bytes: string, code: string])[];
  /** Bytes of an answer that is none of this dialect, beside those that are no JSON. */
  readonly garbled: readonly (readonly [what: string, bytes: string])[];
  /** Settings that it can say, all of them, and those that `validate` complains of, one by one. */
  readonly sayable: ModelSettings;
  readonly unsayable: readonly ModelSettings[];
  readonly can: {
    /** Calls carry ids. */
    readonly ids: boolean;
    /** Arguments come in pieces, so a call can be announced before the answer ends. */
    readonly pieces: boolean;
    /** A model's answer can hold images. */
    readonly images: boolean;
    /** Results of tools can hold images themselves; else they come in a user message after the results. */
    readonly resultImages: boolean;
    /** Reasoning that came with calls goes back. */
    readonly reasoning: boolean;
  };
}

import type { JsonObject } from "../core/json.ts";
import type { Taint } from "../core/taint.ts";
import type { CallContext, Outcome } from "./tool.ts";

/** A resource as lists show it. `bytes` is its size where that is known. */
export interface Resource {
  readonly uri: string;
  readonly name: string;
  readonly title?: string;
  readonly description?: string;
  readonly mimeType?: string;
  readonly bytes?: number;
  readonly annotations?: JsonObject;
}

/** Resources by a URI template (RFC 6570). */
export interface ResourceTemplate extends Omit<Resource, "uri" | "bytes"> {
  readonly uriTemplate: string;
}

/** One part of what a resource holds: text, or bytes as base64. */
export type ResourceContents = { readonly uri: string; readonly mimeType?: string } & (
  | { readonly text: string }
  | { readonly blob: string }
);

/** How reading ended; null where there is nothing under that URI for this caller. Waits as a tool does. */
export type ReadOutcome =
  | { readonly type: "done"; readonly contents: readonly ResourceContents[]; readonly taint?: Taint }
  | Omit<Extract<Outcome, { type: "waiting" }>, "durable">
  | null;

/** Who looks: what a source may see of a caller. `grant` has been asked for the URI before a source is. */
export type SourceContext = Omit<CallContext, "call" | "demand" | "depth" | "detach" | "record" | "reserved">;

/** What a completion suggests for: an argument of a prompt or of a resource template, beside those that are filled in. */
export interface CompletionRequest {
  readonly argument: { readonly name: string; readonly value: string };
  readonly filled: Readonly<Record<string, string>>;
}

/** One part of the URI space and what stands in it: the artifacts, a graph's entities, a server behind. */
export interface ResourceSource {
  readonly name: string;
  /** Whether a URI, or a URI template, is in this part. */
  owns(uri: string): boolean;
  /** At most a thousand, in a fixed order; the door leaves out what the grant does not allow. */
  list(context: SourceContext): Promise<readonly Resource[]>;
  templates(context: SourceContext): Promise<readonly ResourceTemplate[]>;
  read(uri: string, context: SourceContext): Promise<ReadOutcome>;
  complete?(uriTemplate: string, request: CompletionRequest, context: SourceContext): Promise<readonly string[]>;
  /** Calls `onUpdate` when the resource changes, until it is disposed. Missing: its resources never change. */
  subscribe?(uri: string, context: SourceContext, onUpdate: () => void): Promise<AsyncDisposable>;
}

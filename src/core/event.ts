import { z } from "zod";
import type { Json } from "./json.ts";
import { Scope } from "./scope.ts";

const JsonValue: z.ZodType<Json> = z.json();
const JsonArguments = z.record(z.string(), JsonValue);

/** For whom a piece of content is and how much it matters, as MCP says it (`audience`, `priority`, `lastModified`). */
const annotations = JsonArguments.exactOptional();

/** A piece of content that a person, a model or a tool produced. Bytes are base64. */
export const Block = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text"), text: z.string(), annotations }),
  z.strictObject({ type: z.literal("image"), mimeType: z.string(), data: z.string(), annotations }),
  z.strictObject({ type: z.literal("audio"), mimeType: z.string(), data: z.string(), annotations }),
  z.strictObject({
    type: z.literal("resource"),
    uri: z.string(),
    mimeType: z.string().exactOptional(),
    /** One of the two. */
    text: z.string().exactOptional(),
    blob: z.string().exactOptional(),
    annotations,
  }),
  z.strictObject({
    type: z.literal("resource_link"),
    uri: z.string(),
    name: z.string(),
    title: z.string().exactOptional(),
    description: z.string().exactOptional(),
    mimeType: z.string().exactOptional(),
    bytes: z.int().exactOptional(),
    annotations,
  }),
]);
export type Block = Readonly<z.infer<typeof Block>>;

/** What a model said in one turn: text, reasoning and complete tool calls, in the order in which they came. */
export const AnswerPart = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text"), text: z.string() }),
  z.strictObject({ type: z.literal("reasoning"), text: z.string() }),
  z.strictObject({ type: z.literal("tool_call"), callId: z.string(), name: z.string(), argumentsText: z.string() }),
]);
export type AnswerPart = Readonly<z.infer<typeof AnswerPart>>;

/** Why a model stopped. `failed`: it says itself that the task is not done, which only a source without a model can know. */
export const Stop = z.enum(["end", "failed", "tool", "length", "refusal", "paused", "context_full", "filtered"]);
export type Stop = z.infer<typeof Stop>;

/** Tokens of one model call, disjoint, so that cost is a dot product with the price table. */
export const Usage = z.strictObject({
  inputUncached: z.int().min(0),
  cacheRead: z.int().min(0),
  cacheWrite5m: z.int().min(0),
  cacheWrite1h: z.int().min(0),
  output: z.int().min(0),
  reasoning: z.int().min(0),
});
export type Usage = Readonly<z.infer<typeof Usage>>;

const Effect = z.enum(["read", "idempotent", "once"]);

/** The recorded end of a tool call, as the model reads it. */
export const ToolOutcome = z.strictObject({
  value: JsonValue.optional(),
  content: z.array(Block).optional(),
  isError: z.boolean(),
  code: z.string().optional(),
});
export type ToolOutcome = Readonly<z.infer<typeof ToolOutcome>>;

/** What came from outside: from a person, a clock or another process. An approval without `approvalId` approves nothing. */
export const RunInput = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("message"), text: z.string(), taint: z.array(z.string()) }),
  z.strictObject({
    type: z.literal("approval"),
    callId: z.string(),
    decision: z.enum(["approve", "deny"]),
    approvalId: z.string().optional(),
    reason: z.string().optional(),
  }),
  z.strictObject({ type: z.literal("cancel"), reason: z.string() }),
]);
export type RunInput = Readonly<z.infer<typeof RunInput>>;

/** The limits of a run, beside those of its grant. All are enforced by `decide`. */
export const RunLimits = z.strictObject({
  turns: z.int().min(1),
  timeMs: z.int().min(1),
  costMicroUsd: z.int().min(0),
  depth: z.int().min(0),
  parallel: z.int().min(1),
});
export type RunLimits = Readonly<z.infer<typeof RunLimits>>;

/** One fact of a run: an input, an intention written before an effect, or an outcome. Names are past tense. */
export const EventBody = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("run.created"),
    task: z.string(),
    model: z.string(),
    baseUrl: z.string().optional(),
    system: z.string().optional(),
    limits: RunLimits,
    grantId: z.string(),
    /** What whoever started the run had seen. Missing: nothing untrusted. */
    taint: z.array(z.string()).optional(),
    parent: z.strictObject({ runId: z.string(), callId: z.string() }).optional(),
    previous: z.strictObject({ runId: z.string(), seq: z.int() }).optional(),
  }),
  z.strictObject({ type: z.literal("run.resumed"), grantId: z.string() }),
  z.strictObject({ type: z.literal("input.received"), input: RunInput }),
  z.strictObject({ type: z.literal("model.requested"), callId: z.string(), turn: z.int(), contextHash: z.string() }),
  z.strictObject({
    type: z.literal("model.answered"),
    callId: z.string(),
    parts: z.array(AnswerPart),
    stop: Stop,
    usage: Usage,
    costMicroUsd: z.int().min(0),
    raw: JsonValue.optional(),
  }),
  z.strictObject({
    type: z.literal("model.failed"),
    callId: z.string(),
    code: z.string(),
    message: z.string(),
    retryAfterMs: z.int().min(0).optional(),
  }),
  z.strictObject({
    type: z.literal("tool.requested"),
    callId: z.string(),
    name: z.string(),
    args: JsonArguments,
    effect: Effect,
  }),
  z.strictObject({
    type: z.literal("tool.finished"),
    callId: z.string(),
    outcome: ToolOutcome,
    taint: z.array(z.string()),
  }),
  z.strictObject({
    type: z.literal("approval.requested"),
    callId: z.string(),
    name: z.string(),
    args: JsonArguments,
    pin: z.string(),
    callHash: z.string(),
    question: z.string(),
  }),
  z.strictObject({
    type: z.literal("run.suspended"),
    reason: z.enum(["approval", "interrupted"]),
    callIds: z.array(z.string()),
  }),
  z.strictObject({
    type: z.literal("run.finished"),
    status: z.enum(["done", "failed", "limit", "refused", "cancelled"]),
    answer: z.string(),
    code: z.string().optional(),
    message: z.string().optional(),
  }),
]);
export type EventBody = Readonly<z.infer<typeof EventBody>>;

/** A fact with its place in the log: `seq` counts from 1 without gaps within a run, `at` is ms since the epoch. */
const EventEnvelope = z.strictObject({
  v: z.literal(1),
  scope: Scope,
  runId: z.string(),
  seq: z.int().min(1),
  at: z.int().min(0),
});
export type Event = Readonly<z.infer<typeof EventEnvelope>> & EventBody;

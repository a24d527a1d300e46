import { z } from "zod";
import { Guardrails } from "./guardrails.ts";
import type { Json } from "./json.ts";
import { Scope } from "./scope.ts";

const JsonValue: z.ZodType<Json> = z.json();
const JsonObject = z.record(z.string(), JsonValue);

/** For whom a piece of content is and how much it matters, as MCP says it (`audience`, `priority`, `lastModified`). */
const annotations = JsonObject.exactOptional();

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

/** What a model said in one turn: text, reasoning, images (base64) and complete tool calls, in the order in which they came. */
export const AnswerPart = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text"), text: z.string() }),
  z.strictObject({ type: z.literal("reasoning"), text: z.string() }),
  z.strictObject({ type: z.literal("image"), mimeType: z.string(), data: z.string() }),
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

/**
 * An answer in its provider's own form, kept verbatim: `blocks` go back to the same `wire` and `model`, byte for byte, and to no other.
 * What a provider signs, such as its thinking, is lost or refused when anything in it is changed.
 */
export const RawAnswer = z.strictObject({ wire: z.string(), model: z.string(), blocks: JsonValue });
export type RawAnswer = Readonly<z.infer<typeof RawAnswer>>;

/** How a model is to answer. What is missing the endpoint decides; what a wire can't say, `validateConfig` of its provider names. */
export const ModelSettings = z.strictObject({
  temperature: z.number().min(0).max(2).exactOptional(),
  topP: z.number().min(0).max(1).exactOptional(),
  /** The most tokens of one answer, reasoning included. */
  maxOutputTokens: z.int().min(1).exactOptional(),
  /** The answer ends before the first of these. */
  stop: z.array(z.string().min(1)).max(4).exactOptional(),
  seed: z.int().exactOptional(),
  /** How much the model may think before it answers. */
  reasoning: z.enum(["off", "low", "medium", "high"]).exactOptional(),
});
export type ModelSettings = Readonly<z.infer<typeof ModelSettings>>;

/** What happened on the way to a model's answer, beside the answer: `model` is named as in `--model`. */
export const ModelNotice = z.discriminatedUnion("type", [
  /** An attempt failed and another follows after `delayMs`; what was streamed of the failed one is void. */
  z.strictObject({
    type: z.literal("retry"),
    model: z.string(),
    attempt: z.int().min(1),
    delayMs: z.int().min(0),
    code: z.string(),
    message: z.string(),
    /** What the attempt used, where its endpoint said so. */
    usage: Usage.exactOptional(),
  }),
  /** The next model of the list is asked; what was streamed is void. */
  z.strictObject({
    type: z.literal("failover"),
    model: z.string(),
    next: z.string(),
    code: z.string(),
    message: z.string(),
    /** What the first one used, where its endpoint said so: it declined, or failed. */
    usage: Usage.exactOptional(),
  }),
  z.strictObject({ type: z.literal("rate_limit_acquired"), model: z.string(), waitedMs: z.int().min(0) }),
  z.strictObject({ type: z.literal("slot_acquired"), model: z.string(), waitedMs: z.int().min(0) }),
  z.strictObject({
    type: z.literal("circuit"),
    model: z.string(),
    state: z.enum(["open", "half_open", "closed"]),
  }),
  z.strictObject({ type: z.literal("cache_hit"), model: z.string(), ageMs: z.int().min(0) }),
  z.strictObject({ type: z.literal("cache_miss"), model: z.string() }),
  /** Something was left out or done in a lesser way, and the answer came all the same. */
  z.strictObject({ type: z.literal("degraded"), model: z.string(), message: z.string() }),
]);
export type ModelNotice = Readonly<z.infer<typeof ModelNotice>>;

/** A tool as a model is told of it. */
export const ModelTool = z.strictObject({ name: z.string(), description: z.string(), inputSchema: JsonObject });
export type ModelTool = Readonly<z.infer<typeof ModelTool>>;

const Effect = z.enum(["read", "idempotent", "once"]);

/**
 * Why a call waits for a person. `marked`: its grant says that each call asks, and for nothing else. `untrusted`: it can send out or
 * destroy, and untrusted content came in before. `in_doubt`: it began, and nobody saw its end.
 */
export const ApprovalReason = z.enum(["marked", "untrusted", "in_doubt"]);
export type ApprovalReason = z.infer<typeof ApprovalReason>;

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
  z.strictObject({
    type: z.literal("message"),
    text: z.string(),
    /** What came with the text, such as pictures. */
    content: z.array(Block).exactOptional(),
    taint: z.array(z.string()),
  }),
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

/** A call that waits for a person, in a run or in one that it started. */
export const PendingCall = z.strictObject({
  runId: z.string(),
  callId: z.string(),
  name: z.string(),
  args: JsonObject,
  question: z.string(),
  why: ApprovalReason.exactOptional(),
});
export type PendingCall = Readonly<z.infer<typeof PendingCall>>;

/** A run that another one started and that waits for a person. */
export const SuspendedRun = z.strictObject({ runId: z.string(), pending: z.array(PendingCall) });
export type SuspendedRun = Readonly<z.infer<typeof SuspendedRun>>;

/** What models have cost. */
export const Spent = z.strictObject({ usage: Usage, costMicroUsd: z.int().min(0) });
export type Spent = Readonly<z.infer<typeof Spent>>;

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
    /** The log that this one goes on from, up to and with `seq`: what it says before is said there. */
    previous: z
      .strictObject({ runId: z.string(), seq: z.int().min(1), how: z.enum(["fork", "continue"]) })
      .exactOptional(),
    /** The run came from a file of this name, where it had this id. It is there to be looked at and gone on from, not to go on itself. */
    imported: z.strictObject({ name: z.string(), runId: z.string() }).exactOptional(),
    /** The runs of one conversation share its name. */
    conversation: z.string().exactOptional(),
    /** The agent of the config or the store whose instructions, tools and limits these are. */
    agent: z.strictObject({ name: z.string(), version: z.int() }).exactOptional(),
    settings: ModelSettings.exactOptional(),
    /** The answer must be JSON of this schema; the model is asked again at most `tries` times. */
    answerSchema: z.strictObject({ schema: JsonObject, tries: z.int().min(0) }).exactOptional(),
    guardrails: Guardrails.exactOptional(),
    /** How many tokens the model takes in. Missing: unknown, and never compacted. */
    windowTokens: z.int().min(1).exactOptional(),
    /** About how many tokens of one tool result the model reads at once. Missing: all of it. */
    resultTokens: z.int().min(1).exactOptional(),
  }),
  z.strictObject({ type: z.literal("run.resumed"), grantId: z.string() }),
  z.strictObject({ type: z.literal("input.received"), input: RunInput }),
  /** The tools that the model is told of from here on; written when they differ from those before (`readTools`). */
  z.strictObject({ type: z.literal("tools.offered"), tools: z.string() }),
  z.strictObject({
    type: z.literal("model.requested"),
    callId: z.string(),
    turn: z.int(),
    contextHash: z.string(),
    /** Missing: the next turn of the run. `summary`: of its oldest messages, which `context.compacted` ends. */
    purpose: z.literal("summary").exactOptional(),
    /** Of how many of the oldest messages the summary is. */
    messages: z.int().min(1).exactOptional(),
  }),
  z.strictObject({
    type: z.literal("model.answered"),
    callId: z.string(),
    parts: z.array(AnswerPart),
    stop: Stop,
    usage: Usage,
    costMicroUsd: z.int().min(0),
    raw: RawAnswer.exactOptional(),
    /** The model that answered, as in `--model`, where it is not the one of the run. */
    model: z.string().exactOptional(),
    notices: z.array(ModelNotice).exactOptional(),
  }),
  z.strictObject({
    type: z.literal("model.failed"),
    callId: z.string(),
    code: z.string(),
    message: z.string(),
    retryAfterMs: z.int().min(0).optional(),
    notices: z.array(ModelNotice).exactOptional(),
    /** What is known to be used: by an answer that can't be taken, and by attempts before. Missing: nothing is known. */
    usage: Usage.exactOptional(),
    costMicroUsd: z.int().min(0).exactOptional(),
  }),
  /** How many tokens the context has, by a tokenizer: written where that is more than the model takes in. */
  z.strictObject({ type: z.literal("context.counted"), tokens: z.int().min(0) }),
  /**
   * From here on `summary` stands for the oldest `messages` of the context, but for the task and the user's last message, which stay. It
   * has the taint of all of them.
   */
  z.strictObject({
    type: z.literal("context.compacted"),
    messages: z.int().min(1),
    summary: z.string(),
    by: z.enum(["model", "extraction"]),
    /** The model call that wrote it. */
    callId: z.string().exactOptional(),
    usage: Usage.exactOptional(),
    costMicroUsd: z.int().min(0).exactOptional(),
  }),
  /** A rule of the run held something back, changed it, or had the model asked again: then the model reads `message`. */
  z.strictObject({
    type: z.literal("guardrail.hit"),
    rule: z.string(),
    place: z.enum(["input", "output", "tool"]),
    action: z.enum(["blocked", "redacted", "asked_again"]),
    /** In a sentence; it never repeats what was held back. */
    message: z.string(),
    callId: z.string().exactOptional(),
    /** The run ends with it. */
    code: z.string().exactOptional(),
  }),
  z.strictObject({
    type: z.literal("tool.requested"),
    callId: z.string(),
    name: z.string(),
    args: JsonObject,
    effect: Effect,
    /** It failed for a passing reason and is made once more: for which time. Missing: it is not. */
    retry: z.int().min(1).exactOptional(),
  }),
  z.strictObject({
    type: z.literal("tool.finished"),
    callId: z.string(),
    outcome: ToolOutcome,
    taint: z.array(z.string()),
    /** A person put this in place of what the tool said, or would have said. */
    edited: z.literal(true).exactOptional(),
    /** What the run that it started has cost, with all below that. */
    spent: Spent.exactOptional(),
  }),
  /** The run that the call started waits for a person: the call is made again, under the same id, once this run is taken up. */
  z.strictObject({ type: z.literal("tool.suspended"), callId: z.string(), by: SuspendedRun }),
  z.strictObject({
    type: z.literal("approval.requested"),
    callId: z.string(),
    name: z.string(),
    args: JsonObject,
    pin: z.string(),
    callHash: z.string(),
    question: z.string(),
    /** Missing: not known, as in older logs; then nothing but a person's own word releases it. */
    why: ApprovalReason.exactOptional(),
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

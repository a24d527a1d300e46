import { CapstanError, toCapstanError } from "../core/error.ts";
import type { AnswerPart } from "../core/event.ts";
import type { JsonSchema } from "../core/json.ts";
import { canonicalJson, sha256 } from "../core/json.ts";
import { redact, redactJson } from "../core/redact.ts";
import type { Run } from "../core/run.ts";
import { toArray } from "../core/sequence.ts";
import { toCharge } from "../permissions/ledger.ts";
import type { Grant } from "../permissions/grant.ts";
import type { Command } from "./decide.ts";
import { toCallId } from "./decide.ts";
import { estimateUsage, toAmounts, toCostMicroUsd } from "./price.ts";
import type { ModelEvent, ModelRequest } from "./provider.ts";
import type { Work, World } from "./world.ts";

type Ended = ModelEvent & { readonly type: "message.ended" };

/** More calls than this in one answer are the answer of a broken model. */
const maxCallsPerTurn = 128;

/** The failures after which it is sure that the provider has billed nothing. */
const unbilled: ReadonlySet<string> = new Set(["provider.sign_in", "provider.rate_limited", "provider.bad_request"]);

/**
 * Makes one model call: waits where it is a retry, reserves its tokens and cost together with the intention, streams, and records the
 * answer or the failure. After a person's abort it records nothing.
 */
export async function callModel(command: Command & { type: "call_model" }, work: Work): Promise<void> {
  const { id: callId, turn, delayMs, again } = command;
  const { world, log, signal, halt } = work;
  const { permissions, grant, price, provider } = world;
  let isReserved = again && provider.metered;
  try {
    if (delayMs > 0) {
      world.onSignal({ type: "progress", text: `The model can't be reached. Trying again in ${delayMs / 1_000} s.` });
      await world.sleep(delayMs, halt);
    }
    await permissions.refresh();
    permissions.demandLive(grant);
    const request = toRequest(log.run(), world);
    if (!again) {
      const intention = {
        type: "model.requested" as const,
        callId,
        turn,
        contextHash: hashContext(log.run(), request),
      };
      const reserved = provider.metered ? [toReservation(grant, callId, request, world)] : [];
      await log.append([intention], { charges: reserved });
      isReserved = provider.metered;
    }
    const { parts, stop, usage, raw } = toRecorded(await receive(request, work), log.run());
    await log.append(
      [
        {
          type: "model.answered",
          callId,
          parts: [...parts],
          stop,
          usage,
          costMicroUsd: toCostMicroUsd(usage, price),
          ...(raw === undefined ? {} : { raw: redactJson(raw) }),
        },
      ],
      isReserved ? { settles: [{ callId, amounts: toAmounts(usage, price), outcome: "done" }] } : {},
    );
  } catch (thrown) {
    if (signal.aborted) return;
    const { code, message, details } = toCapstanError(thrown);
    if (code.startsWith("store.") || code === "run.corrupt") throw thrown;
    if (code === "core.internal") world.onFault(thrown);
    const { retryAfterMs } = details;
    const failed = { type: "model.failed" as const, callId, code, message };
    const outcome = unbilled.has(code) ? ("error" as const) : ("unknown" as const);
    await log.append(
      [typeof retryAfterMs === "number" ? { ...failed, retryAfterMs } : failed],
      isReserved ? { settles: [{ callId, amounts: {}, outcome }] } : {},
    );
  }
}

/** The context of a run as its model sees it, with the tools that its grant lists. */
function toRequest(run: Run, { door, grant, model, maxOutputTokens }: World): ModelRequest {
  return {
    model,
    ...(run.system === undefined ? {} : { system: run.system }),
    messages: toArray(run.messages),
    tools: door.list(grant).map(({ name, description, inputSchema }) => ({ name, description, inputSchema })),
    ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
  };
}

/** A hash over all that the model is told; what is said in each turn anew costs the same however long the run is. */
function hashContext(run: Run, { model, system = "", tools }: ModelRequest): string {
  const told = tools.map(({ name, description, inputSchema }) => [name, description, toSchemaText(inputSchema)]);
  return sha256(JSON.stringify([run.messagesHash, model, system, told]));
}

/** Schemas are frozen, so each is written out once. */
const schemaTexts = new WeakMap<JsonSchema, string>();

function toSchemaText(schema: JsonSchema): string {
  const known = schemaTexts.get(schema);
  if (known !== undefined) return known;
  const text = canonicalJson(schema);
  schemaTexts.set(schema, text);
  return text;
}

function toReservation(grant: Grant, callId: string, request: ModelRequest, { price, permissions }: World) {
  return toCharge(grant, callId, toAmounts(estimateUsage(request), price), permissions.now());
}

async function receive(request: ModelRequest, { world, halt }: Work): Promise<Ended> {
  let ended: Ended | undefined;
  for await (const event of world.provider.stream(request, halt)) {
    if (event.type === "message.ended") ended = event;
    else if (event.type === "text.delta" || event.type === "reasoning.delta") world.onSignal(event);
  }
  halt.throwIfAborted();
  if (ended !== undefined) return ended;
  throw new CapstanError("provider.unavailable", "The model's answer was cut before its end. Try again.");
}

/** The answer as the log keeps it: bounded, with the run's own call ids, and without what looks like a token. */
function toRecorded(ended: Ended, run: Run): Ended {
  const { parts, stop } = ended;
  const calls = parts.filter((part) => part.type === "tool_call").length;
  if (calls > maxCallsPerTurn) {
    throw badAnswer(`The model asked for ${calls} tool calls at once, and ${maxCallsPerTurn} are the most.`);
  }
  const isEmpty = !parts.some((part) => part.type === "tool_call" || (part.type === "text" && part.text.trim() !== ""));
  if (isEmpty && stop === "end") throw badAnswer("The model answered nothing: no text and no tool call. Try again.");
  let index = 0;
  const ours = parts.map((part): AnswerPart => {
    if (part.type !== "tool_call") return { type: part.type, text: redact(part.text) };
    const callId = toCallId(run, "tool", run.turns, index++);
    return { type: "tool_call", callId, name: part.name, argumentsText: redact(part.argumentsText) };
  });
  return { ...ended, parts: ours };
}

function badAnswer(message: string): CapstanError {
  return new CapstanError("provider.bad_answer", message);
}

import { withHead } from "../core/context.ts";
import { CapstanError, toCapstanError } from "../core/error.ts";
import type { AnswerPart, ModelNotice, ModelTool } from "../core/event.ts";
import { canonicalJson, holdsPrototype, isTooDeep, sha256, withoutPrototype } from "../core/json.ts";
import { writeTools } from "../core/offered.ts";
import { hasSecret, redact, redactJsonText } from "../core/redact.ts";
import type { Run } from "../core/run.ts";
import type { Tool } from "../tools/tool.ts";
import { countWhereClose } from "./context/count.ts";
import { withReadResult } from "./context/read-result.ts";
import type { Command } from "./decide.ts";
import { toCallId } from "./decide.ts";
import type { Judged } from "./guardrails/judge.ts";
import { judgeAnswer, takenName, toSecretHits } from "./guardrails/judge.ts";
import { openShow } from "./guardrails/show.ts";
import type { ModelRequest } from "./provider.ts";
import type { Ended } from "./receive.ts";
import { receive, reserveAgain, toFailedCall, toReservation, toSettle, toSpent } from "./receive.ts";
import { repairSequence } from "./repair.ts";
import type { Work, World } from "./world.ts";

/** More calls than this in one answer are the answer of a broken model. */
const maxCallsPerTurn = 128;

/**
 * Makes one model call: reserves its tokens and cost together with the intention, streams, and records the answer or the failure, with
 * the notices of the policies around the model. After a person's abort it records nothing but an answer that is complete.
 */
export async function callModel(command: Command & { type: "call_model" }, work: Work): Promise<void> {
  const { id: callId, turn, again } = command;
  const { world, log, signal } = work;
  const { permissions, grant, provider } = world;
  /** What is settled when the call ends. */
  let chargeId: string | undefined;
  let ended: Ended | undefined;
  const notices: ModelNotice[] = [];
  try {
    await permissions.refresh();
    permissions.demandLive(grant);
    const request = toRequest(log.run(), world);
    if (!again) {
      const { tools } = request;
      const isTold = isSame(tools, log.run().tools);
      const told = isTold ? undefined : writeTools(tools);
      const offered = told === undefined ? [] : [{ type: "tools.offered" as const, tools: told }];
      const next = told === undefined ? log.run() : withHead({ ...log.run(), tools }, told);
      const tokens = await countWhereClose(next, tools);
      // With that on record it is decided anew: the context is made smaller, or the run ends.
      if (tokens !== null) return await log.append([...offered, { type: "context.counted", tokens }]);
      const contextHash = hashContext(log.run(), request);
      const intention = { type: "model.requested" as const, callId, turn, contextHash };
      const reserved = provider.metered ? [toReservation(callId, request, world)] : [];
      await log.append([...offered, intention], { charges: reserved });
      if (provider.metered) chargeId = callId;
    } else if (provider.metered) chargeId = await reserveAgain(request, work);
    const show = openShow(log.run(), world.onSignal);
    const came = await world.within(callId, () => receive(request, work, notices, show));
    ended = came;
    const { parts, stop, raw, model, hits } = toRecorded(came, log.run());
    show.end({ parts, hits });
    await log.record(
      [
        {
          type: "model.answered",
          callId,
          parts: [...parts],
          stop,
          ...toSpent(came, notices, world),
          ...(raw === undefined ? {} : { raw }),
          ...(model === undefined ? {} : { model }),
          ...(notices.length === 0 ? {} : { notices }),
        },
        ...hits,
      ],
      chargeId === undefined ? {} : { settles: [toSettle(chargeId, came, "done", world)] },
    );
  } catch (thrown) {
    const error = toCapstanError(thrown);
    const { code, details } = error;
    const { spent, settles } = toFailedCall(error, { chargeId, ended, notices }, world);
    if (signal.aborted && ended === undefined) {
      // Asked again, it is charged anew: what was never sent is given back.
      if (settles[0]?.outcome === "error") await world.store.commit({ scope: log.run().scope, settles });
      return;
    }
    if (code.startsWith("store.") || code === "run.corrupt") throw thrown;
    if (code === "core.internal") world.onFault(thrown);
    const { retryAfterMs } = details;
    const told = notices.length === 0 ? {} : { notices };
    const failed = {
      type: "model.failed" as const,
      callId,
      code,
      message: toMessage(error, log.run()),
      ...told,
      ...spent,
    };
    await log.record([typeof retryAfterMs === "number" ? { ...failed, retryAfterMs } : failed], { settles });
  }
}

/** Where the run's own limit has no room, it is told as whoever set it knows it, not as a budget of some grant. */
function toMessage({ code, message, details }: CapstanError, { limits }: Run): string {
  const { used, cap, asked } = details;
  if (code !== "budget.cost" || cap !== limits.costMicroUsd) return message;
  const inUsd = (micro: unknown): string => `${(Number(micro) / 1e6).toFixed(6)} USD`;
  return `The run has used ${inUsd(used)} of its ${inUsd(cap)}, and this turn may take ${inUsd(asked)}. Allow more with --max-cost, or a shorter answer with --max-tokens.`;
}

/** The context of a run as its model sees it, with the tools that its grant lists. */
export function toRequest(
  run: Run,
  { door, grant, model, settings }: Pick<World, "door" | "grant" | "model" | "settings">,
): ModelRequest {
  const messages = repairSequence(run.messages);
  const task = run.messages.backing[run.context.taskAt];
  return {
    model,
    ...(run.system === undefined ? {} : { system: run.system }),
    ...(run.answerSchema === undefined ? {} : { answerSchema: run.answerSchema.schema }),
    messages,
    ...(task === undefined || run.context.taskAt === 0 ? {} : { taskAt: messages.indexOf(task) }),
    tools: withReadResult(run, toOffer(door.list(grant))),
    settings: { ...settings, ...run.settings },
    ...(run.windowTokens === undefined ? {} : { windowTokens: run.windowTokens }),
    cacheKey: run.conversation ?? run.runId,
  };
}

const offers = new WeakMap<Tool, ModelTool>();

/** Tools as a model is told of them: of each tool always the same object. */
function toOffer(tools: readonly Tool[]): readonly ModelTool[] {
  return tools.map((tool) => {
    const known = offers.get(tool);
    if (known !== undefined) return known;
    const { name, description } = tool;
    const told = Object.freeze({ name, description, inputSchema: withoutPrototype(tool.inputSchema) });
    offers.set(tool, told);
    return told;
  });
}

/** A hash over all that the model is told; what is said in each turn anew costs the same however long the run is. */
export function hashContext(
  run: Run,
  { model, system = "", tools }: Pick<ModelRequest, "model" | "system" | "tools">,
): string {
  return sha256(JSON.stringify([run.messagesHash, model, system, tools.map(toToolHash)]));
}

const isSame = (tools: readonly ModelTool[], told: readonly ModelTool[]): boolean =>
  tools.length === told.length && tools.every((tool, place) => tool === told[place] || isSameTool(tool, told[place]));

const isSameTool = (a: ModelTool, b: ModelTool | undefined): boolean =>
  b !== undefined && toToolHash(a) === toToolHash(b);

const toolHashes = new WeakMap<ModelTool, string>();

/** Tools never change, so each is hashed once. */
function toToolHash(tool: ModelTool): string {
  const known = toolHashes.get(tool);
  if (known !== undefined) return known;
  const hash = sha256(canonicalJson(tool));
  toolHashes.set(tool, hash);
  return hash;
}

/** The answer as the log keeps it: bounded, with the run's own call ids, without what looks like a token, and judged by the run's rules. */
function toRecorded(ended: Ended, run: Run): Ended & Judged {
  const { parts, stop } = ended;
  const calls = parts.filter((part) => part.type === "tool_call").length;
  if (calls > maxCallsPerTurn) {
    throw badAnswer(`The model asked for ${calls} tool calls at once, and ${maxCallsPerTurn} are the most.`);
  }
  const isEmpty = !parts.some((part) => part.type === "tool_call" || (part.type === "text" && part.text.trim() !== ""));
  if (isEmpty && stop === "end") throw badAnswer("The model answered nothing: no text and no tool call. Try again.");
  let index = 0;
  const ours = parts.map((part): AnswerPart => {
    if (part.type === "image") return part;
    if (part.type !== "tool_call") {
      // What is read as JSON in the end is also looked at as it will be read.
      const text = run.answerSchema === undefined ? part.text : redactJsonText(part.text);
      return { type: part.type, text: redact(text) };
    }
    const callId = toCallId(run, "tool", run.turns, index++);
    const name = redact(part.name) === part.name ? part.name : takenName;
    return { type: "tool_call", callId, name, argumentsText: redactJsonText(part.argumentsText) };
  });
  // What was said in the provider's own form goes back unchanged or not at all.
  const { raw, ...rest } = ended;
  const judged = judgeAnswer({ parts: ours, stop }, run);
  const secrets = toSecretHits(parts, ours);
  const isUnchanged = secrets.length === 0 && judged.parts === ours;
  const isKept = raw !== undefined && !isTooDeep(raw.blocks) && !holdsPrototype(raw.blocks);
  const isClean = isKept && isUnchanged && !hasSecret(raw.blocks);
  const hits = [...secrets, ...judged.hits];
  return { ...rest, ...judged, hits, ...(isClean ? { raw } : {}) };
}

function badAnswer(message: string): CapstanError {
  return new CapstanError("provider.bad_answer", message);
}

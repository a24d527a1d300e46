import { counted } from "../core/counted.ts";
import type { Event, ModelNotice, Spent, ToolOutcome } from "../core/event.ts";
import type { Run } from "../core/run.ts";
import { applyEvent } from "../core/run.ts";
import { noUsage } from "../core/usage.ts";
import type { Tokenizer } from "../host/context/count.ts";
import { loadTokenizer } from "../host/context/count.ts";
import type { ContextPart } from "../host/context/explain.ts";
import { explainContext } from "../host/context/explain.ts";
import { SearchPage } from "../knowledge/query.ts";
import { inShort, outcomeInShort } from "./in-short.ts";
import { usageInWords } from "./run-end.ts";

/** How many results of a search are named. */
const namedResults = 5;
/** How many of the tools that a model could call are named. */
const namedTools = 50;

interface Call {
  readonly name: string;
  readonly args: string;
  readonly at: number;
  readonly effect: string;
  readonly grantId: string;
  readonly asked?: string;
  readonly decided?: string;
  readonly retry?: number;
}

/**
 * Where the answers of a run came from, as lines: for each model call its context by kind with token counts, the tools that it could call,
 * what was on the way, its tokens and its cost; for each tool call its effect, grant, approval and time, and the scores of what a search
 * found. `turn` picks one. The events are those that `host.load` gives; of the runs before it, only the context is told.
 */
export async function explain(runId: string, events: readonly Event[], turn?: number): Promise<readonly string[]> {
  const count = await loadTokenizer();
  const lines: { readonly turn: number; readonly text: string }[] = [];
  const calls = new Map<string, Call>();
  const asked = new Map<string, number>();
  let run: Run | null = null;
  let now = 0;
  let offered = "";

  for (const event of events) {
    run = applyEvent(run, event);
    if (event.runId !== runId) continue;
    const say = (text: string): void => void lines.push({ turn: now, text });
    switch (event.type) {
      case "run.created":
        say(createdInWords(event));
        break;
      case "input.received":
        if (event.input.type === "message") {
          say(`came in from ${event.input.taint.join(", ") || "the user"}: ${inShort(event.input.text)}`);
        } else if (event.input.type === "approval") {
          const { callId, decision, approvalId, reason = "" } = event.input;
          const call = calls.get(callId);
          const decided =
            decision === "deny" ? `refused by a person: ${reason}` : `approved by a person (${approvalId})`;
          if (call !== undefined) calls.set(callId, { ...call, decided });
        }
        break;
      case "context.compacted":
        say(
          `the oldest ${counted(event.messages, "message")} stand as a summary by ${event.by}: ${inShort(event.summary)}`,
        );
        break;
      case "context.counted":
        say(`the context had ${event.tokens} tokens, more than the model takes in`);
        break;
      case "guardrail.hit":
        say(`the rule ${event.rule} ${event.action.replace("_", " ")} (${event.place}): ${event.message}`);
        break;
      case "model.requested":
        if (event.purpose === undefined) now = event.turn;
        asked.set(event.callId, event.at);
        say(`${event.purpose === undefined ? `turn ${event.turn}` : "a summary"}: ${run.model} was asked`);
        say(`  context: ${contextInWords(run, count)}`);
        if (event.purpose !== undefined) break;
        // Once for as long as they are the same, and always where one turn alone is told.
        if (toolsInWords(run) !== offered || turn !== undefined) say(`  tools: ${toolsInWords(run)}`);
        offered = toolsInWords(run);
        break;
      case "model.failed":
        for (const notice of event.notices ?? []) say(`  on the way: ${noticeInWords(notice)}`);
        say(
          `  failed after ${seconds(event.at - (asked.get(event.callId) ?? event.at))}, ${event.code}: ${event.message}`,
        );
        if (usageInWords(event.usage ?? noUsage).length > 0) say(`  all the same it used: ${spentInWords(event)}`);
        break;
      case "model.answered": {
        for (const notice of event.notices ?? []) say(`  on the way: ${noticeInWords(notice)}`);
        const took = spentInWords(event);
        const by = event.model === undefined ? "" : ` by ${event.model}`;
        say(
          `  answered${by} after ${seconds(event.at - (asked.get(event.callId) ?? event.at))} (${event.stop}): ${took}`,
        );
        for (const part of event.parts) {
          if (part.type === "text") say(`  said: ${inShort(part.text)}`);
          if (part.type !== "tool_call") continue;
          const call = { name: part.name, args: part.argumentsText, at: event.at, effect: "not made" };
          calls.set(part.callId, { ...call, grantId: run.grantId });
        }
        break;
      }
      case "tool.requested": {
        const call = calls.get(event.callId);
        const { name, effect, retry } = event;
        const again = retry === undefined ? {} : { retry };
        const at = call !== undefined && retry !== undefined ? call.at : event.at;
        calls.set(event.callId, {
          ...call,
          name,
          args: JSON.stringify(event.args),
          effect,
          at,
          grantId: run.grantId,
          ...again,
        });
        break;
      }
      case "approval.requested": {
        const call = calls.get(event.callId);
        if (call !== undefined) calls.set(event.callId, { ...call, asked: event.why ?? "asked" });
        break;
      }
      case "tool.finished": {
        const call = calls.get(event.callId);
        if (call !== undefined) say(`  ${callInWords(call, event)}`);
        for (const found of foundInWords(event.outcome)) say(`    ${found}`);
        break;
      }
      case "run.finished":
        say(`the run is ${event.status}${event.code === undefined ? "" : ` (${event.code})`}: ${totalsInWords(run)}`);
        break;
      default:
    }
  }
  return lines.filter((line) => turn === undefined || line.turn === turn).map(({ text }) => text);
}

function createdInWords({ task, agent, previous, limits, grantId }: Event & { type: "run.created" }): string {
  const by = agent === undefined ? "" : ` of the agent ${agent.name} (version ${agent.version})`;
  const after = previous === undefined ? "" : `, after ${previous.runId} up to its event ${previous.seq}`;
  const most = `${counted(limits.turns, "turn")}, ${limits.timeMs / 1_000} s, ${limits.costMicroUsd / 1e6} USD`;
  return `a run${by} under ${grantId}${after}, at most ${most}: ${inShort(task)}`;
}

/** What the model was told, by kind, with the tokens that a tokenizer counts: near enough, and not what its provider billed. */
function contextInWords(run: Run, count: Tokenizer): string {
  const { parts, tools, tokens, budgetTokens } = explainContext(run, count);
  const kinds = new Map<string, { readonly parts: number; readonly tokens: number }>();
  for (const part of parts) {
    const kind = kindOf(part, tools.length);
    const known = kinds.get(kind) ?? { parts: 0, tokens: 0 };
    kinds.set(kind, { parts: known.parts + 1, tokens: known.tokens + part.tokens });
  }
  const said = [...kinds].map(([kind, of]) => `${of.parts === 1 ? "" : `${of.parts} times `}${kind} ${of.tokens}`);
  const most = budgetTokens === undefined ? "" : ` of ${budgetTokens}`;
  return `about ${tokens} tokens${most}: ${said.join(", ")}`;
}

/** The tools that the model could call. */
function toolsInWords({ tools }: Run): string {
  const names = tools.slice(0, namedTools).map(({ name }) => inShort(name, 60));
  const more = tools.length > namedTools ? ` and ${tools.length - namedTools} more` : "";
  return tools.length === 0 ? "none" : names.join(", ") + more;
}

function kindOf({ kind, name, isCut }: ContextPart, tools: number): string {
  if (kind === "tools") return counted(tools, "tool");
  if (kind === "result") return `result of ${name}${isCut === true ? " (cut)" : ""}`;
  return kind === "user" ? "message" : kind;
}

function noticeInWords(notice: ModelNotice): string {
  switch (notice.type) {
    case "retry":
      return `attempt ${notice.attempt} at ${notice.model} failed (${notice.code}), the next came after ${notice.delayMs} ms`;
    case "failover":
      return `${notice.model} failed (${notice.code}), ${notice.next} was asked`;
    case "rate_limit_acquired":
      return `waited ${notice.waitedMs} ms for the rate limit of ${notice.model}`;
    case "slot_acquired":
      return `waited ${notice.waitedMs} ms for a place at ${notice.model}`;
    case "circuit":
      return `the circuit of ${notice.model} is ${notice.state.replace("_", " ")}`;
    case "cache_hit":
      return `the answer was kept ${notice.ageMs} ms ago`;
    case "cache_miss":
      return "no answer was kept";
    case "degraded":
      return notice.message;
    default:
      return notice satisfies never;
  }
}

function callInWords(
  { name, args, at, effect, grantId, asked, decided, retry }: Call,
  event: Event & { type: "tool.finished" },
) {
  const person = [asked === undefined ? [] : [`asked (${asked})`], decided === undefined ? [] : [decided]].flat();
  const again =
    retry === undefined ? [] : [`called again ${counted(retry, "time")}, since it failed for a passing reason`];
  const how = [effect, `under ${grantId}`, ...person, ...again, seconds(event.at - at)].join(", ");
  const taint = event.taint.length === 0 ? "" : `; untrusted: ${event.taint.join(", ")}`;
  return `${inShort(`${name} ${args}`)} (${how}): ${outcomeInShort(event.outcome)}${taint}`;
}

/** The scores of what `kg_search` found, with what they are made of. */
function foundInWords({ value }: ToolOutcome): readonly string[] {
  const page = SearchPage.loose().safeParse(value);
  if (!page.success) return [];
  return page.data.results.slice(0, namedResults).map(({ name, score, components }) => {
    const parts = Object.entries(components).filter(([, part]) => part > 0);
    return `${inShort(name, 60)} scored ${score.toFixed(3)}: ${parts.map(([part, is]) => `${part} ${is.toFixed(2)}`).join(", ")}`;
  });
}

function totalsInWords({ turns, toolCalls, usage, costMicroUsd, activeMs }: Run): string {
  const calls = [counted(turns, "turn"), counted(toolCalls, "tool call"), ...usageInWords(usage)];
  return [...calls, `${(costMicroUsd / 1e6).toFixed(6)} USD`, seconds(activeMs)].join(", ");
}

const spentInWords = ({ usage = noUsage, costMicroUsd = 0 }: Partial<Spent>): string =>
  [...usageInWords(usage), `${(costMicroUsd / 1e6).toFixed(6)} USD`].join(", ");

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(2)} s`;

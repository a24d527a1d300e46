import { counted } from "../core/counted.ts";
import type { Limits } from "../core/limits.ts";
import { ceilingNames, counterNames } from "../core/limits.ts";
import type { ArgumentRule, Grant, Rights, ToolRight } from "./grant.ts";
import { noEnd } from "./operator.ts";
import {
  hostsInWords,
  listInWords,
  nameInWords,
  ruleInWords,
  shortList,
  timeInWords,
  urlRuleInWords,
} from "./words.ts";

const codeTool = "execute_code";

/**
 * The first look, in one sentence: "May run python without network, at most 20 calls, until 14:05; each call of execute_code asks."
 * What it leaves out (of many tools all but ten, argument rules, how hosts are reached, what may be approved, ancestors) stands in `describeGrant`.
 */
export function summarizeGrant({ rights, limits, expiresAt }: Grant): string {
  const code = rights.tools.filter(({ name }) => name === codeTool).map((right) => toCodeAct(right, rights));
  const others = rights.tools.filter(({ name }) => name !== codeTool).map(({ name }) => nameInWords(name));
  const acts = [
    ...code,
    ...(others.length === 0 ? [] : [`call ${shortList(others)}`]),
    ...(rights.read.length === 0 ? [] : [`read under ${listInWords(rights.read.map(nameInWords))}`]),
    ...(rights.write.length === 0 ? [] : [`write under ${listInWords(rights.write.map(nameInWords))}`]),
    ...(rights.resources.length === 0 ? [] : [`read resources: ${listInWords(rights.resources.map(ruleInWords))}`]),
    ...(rights.prompts.length === 0 ? [] : [`use the prompts ${listInWords(rights.prompts.map(promptInWords))}`]),
    ...(rights.sessions.length === 0 ? [] : [`use ${sessionsInWords(rights.sessions)}`]),
    ...(rights.net.length === 0 ? [] : [`connect to ${listInWords(rights.net.flatMap(hostsInWords))}`]),
  ];
  const asking = rights.tools.filter(({ ask }) => ask).map(({ name }) => nameInWords(name));
  const free = rights.tools.filter(({ tainted }) => tainted).map(({ name }) => nameInWords(name));
  const end = expiresAt >= noEnd ? "until it is revoked" : `until ${timeInWords(expiresAt)}`;
  const most = limitTexts(limits).map((text) => `at most ${text}`);
  return `${[
    `May ${[acts.length === 0 ? "do nothing" : acts.join(", "), ...most, end].join(", ")}`,
    ...(asking.length === 0 ? [] : [`each call of ${shortList(asking)} asks`]),
    ...(free.length === 0 ? [] : [`untrusted content makes no call of ${shortList(free)} ask`]),
  ].join("; ")}.`;
}

/**
 * A grant in sentences that a person can check, one per right, limit and condition. Nothing is left unsaid: two grants that differ
 * in anything that decides, differ in their sentences. `now` (ms) only adds how long is left.
 */
export function describeGrant(grant: Grant, now: number): readonly string[] {
  const { rights } = grant;
  return [
    `Grant ${nameInWords(grant.id)} of ${ownerInWords(grant)}, epoch ${grant.epoch}, issued ${timeInWords(grant.issuedAt)}.`,
    ...(rights.tools.length === 0 ? ["May call no tool."] : rights.tools.map((right) => toolSentence(right, rights))),
    sentence("May read files under", rights.read.map(nameInWords), "May read no files."),
    sentence("May write files under", rights.write.map(nameInWords), "May write no files."),
    ...(rights.net.length === 0
      ? ["May connect to no host."]
      : rights.net.map((rule) => `May connect to ${urlRuleInWords(rule)}.`)),
    sentence("May read resources:", rights.resources.map(ruleInWords), "May read no resources."),
    sentence("May use the prompts", rights.prompts.map(promptInWords), "May use no prompts."),
    sentence("May, of runs,", rights.runs, "May do nothing with runs."),
    sentence("May use the sandbox sessions", rights.sessions.map(nameInWords), "May use no sandbox sessions."),
    sentence("May approve calls of", rights.approve.map(nameInWords), "May approve nothing."),
    `Code runs at isolation ${rights.isolation} or stronger.`,
    ...limitSentences(grant.limits),
    grant.run === undefined ? "Bound to no run." : `Only for the run ${nameInWords(grant.run)}.`,
    grant.delegations === 0
      ? "May not be handed on."
      : `May be handed on ${counted(grant.delegations, "generation")} deep.`,
    ...grant.ancestors.map(({ id, limits }) => `Charged on ${nameInWords(id)} too: ${limitsInWords(limits)}.`),
    `Good from ${timeInWords(grant.notBefore)} ${endInWords(grant.expiresAt, now)}.`,
  ];
}

function promptInWords(entry: string): string {
  if (entry === "*") return "* (any)";
  return entry.endsWith("*") ? `${nameInWords(entry)} (all that begin so)` : nameInWords(entry);
}

const sessionsInWords = (names: readonly string[]): string =>
  names.includes("*") ? "sessions of its own" : `the sessions ${shortList(names.map(nameInWords))}`;

function ownerInWords({ principal, scope }: Grant): string {
  return `${principal.user} of ${principal.org}, in the project ${scope.project} of ${scope.org}`;
}

function sentence(start: string, items: readonly string[], empty: string): string {
  return items.length === 0 ? empty : `${start} ${items.join(", ")}.`;
}

function toolSentence(right: ToolRight, rights: Rights): string {
  const definition = right.pin === "builtin" ? "" : ` as defined by ${nameInWords(right.pin)}`;
  const ask = right.ask ? ", each call after an approval" : "";
  const tainted = right.tainted ? ", also after untrusted content without asking" : "";
  return `${toAct(right, rights)}${definition} ${argumentsInWords(right.args)}${ask}${tainted}.`;
}

function toAct(right: ToolRight, rights: Rights): string {
  if (right.name !== codeTool) return `May call ${nameInWords(right.name)}`;
  return `May ${toCodeAct(right, rights)}: ${codeTool}`;
}

/** Running code is what people look for first, so it says more than the tool's name. */
function toCodeAct({ args }: ToolRight, { net }: Rights): string {
  const rule = args?.find((argument) => argument.name === "language")?.rule;
  const languages =
    rule?.type === "one_of" ? listInWords(rule.values.map((value) => nameInWords(String(value)))) : "code";
  return `run ${languages} ${net.length === 0 ? "without network" : "with network to the granted hosts only"}`;
}

function argumentsInWords(args: readonly ArgumentRule[] | undefined): string {
  if (args === undefined) return "with any arguments";
  if (args.length === 0) return "without arguments";
  const isFree = ({ rule, optional }: ArgumentRule): boolean => rule.type === "any" && optional;
  const free = args.filter(isFree).map(({ name }) => nameInWords(name));
  const bound = args
    .filter((argument) => !isFree(argument))
    .map(({ name, rule, optional }) => `${nameInWords(name)}${optional ? " (or left out)" : ""}: ${ruleInWords(rule)}`);
  return `with ${[...bound, ...(free.length === 0 ? [] : [`anything as ${listInWords(free)}`])].join("; ")}; and no other argument`;
}

const limitUnits: { readonly [Key in keyof Required<Limits>]: (amount: number) => string } = {
  calls: (n) => counted(n, "call"),
  tokens: (n) => counted(n, "token"),
  costMicroUsd: (n) => `${n / 1_000_000} US dollars`,
  cpuMs: (n) => `${n} ms of CPU time`,
  wallMs: (n) => `${n} ms of running time`,
  bytes: (n) => `${n} bytes of results`,
  memoryBytes: (n) => `${n} bytes of memory a call`,
  depth: (n) => `${counted(n, "level")} of nested calls`,
  parallel: (n) => `${counted(n, "call")} at a time`,
  runMs: (n) => `${n} ms a run`,
};

function limitTexts(limits: Limits): string[] {
  return [...counterNames, ...ceilingNames].flatMap((name) => {
    const amount = limits[name];
    return amount === undefined ? [] : limitUnits[name](amount);
  });
}

function limitSentences(limits: Limits): string[] {
  const texts = limitTexts(limits);
  return texts.length === 0 ? ["No limits of its own."] : texts.map((text) => `It allows at most ${text}.`);
}

function limitsInWords(limits: Limits): string {
  return listInWords(
    limitTexts(limits).map((text) => `at most ${text}`),
    "without limits",
  );
}

function endInWords(expiresAt: number, now: number): string {
  if (expiresAt >= noEnd) return `until it is revoked, at the latest ${timeInWords(expiresAt)}`;
  return `until ${timeInWords(expiresAt)} (${expiresAt <= now ? "it has ended" : `${durationInWords(expiresAt - now)} left`})`;
}

function durationInWords(ms: number): string {
  const minutes = Math.ceil(ms / 60_000);
  if (minutes <= 120) return `${minutes} min`;
  return minutes <= 48 * 60 ? `${Math.ceil(minutes / 60)} hours` : `${Math.ceil(minutes / (24 * 60))} days`;
}

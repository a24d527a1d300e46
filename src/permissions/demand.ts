import { CapstanError } from "../core/error.ts";
import { isolationLevels } from "../core/isolation.ts";
import type { Taint } from "../core/taint.ts";
import { valueInWords } from "../core/value-in-words.ts";
import { checkConstraint, mayAllowText } from "./constraint.ts";
import type { Grant, Need, ToolRight } from "./grant.ts";
import { isUnder, plainPath } from "./path-rule.ts";
import { allowsPrompt, meetPrompts } from "./prompt-rule.ts";
import type { IndexedRight } from "./right-index.ts";
import { acceptsAbsence, rightNamed } from "./right-index.ts";
import { checkUrl } from "./url-rule.ts";
import { argumentInWords, nameInWords, ruleInWords, shortList, timeInWords, urlRuleInWords } from "./words.ts";

/**
 * Lets an act pass or throws: `token.expired` and `token.not_yet_valid` when the grant is not valid at `now` (ms), `permission.*`
 * for the first need that the grant does not cover, `token.other_run` for a run that is not the grant's own. It decides on the
 * grant and the needs alone: it looks at nothing outside, so no refusal tells whether a thing exists.
 */
export function demand(grant: Grant, needs: readonly Need[], now: number): void {
  demandTime(grant, now);
  for (const need of needs) demandNeed(grant, need);
}

/** Allowed at most this long before a grant begins: the processes of a home agree on the time about once a second. */
const skewMs = 5_000;

/** Throws `token.expired` from `expiresAt` on; `token.not_yet_valid` before `notBefore`, or when it was issued in the future. */
export function demandTime({ issuedAt, notBefore, expiresAt }: Grant, now: number): void {
  if (now >= expiresAt) {
    throw new CapstanError(
      "token.expired",
      `The grant ended at ${timeInWords(expiresAt)}. Ask its issuer for a new one.`,
    );
  }
  const begins = Math.max(issuedAt, notBefore);
  if (now < begins - skewMs) {
    throw new CapstanError("token.not_yet_valid", `The grant begins at ${timeInWords(begins)}. Use it from then on.`);
  }
}

/**
 * The right to a tool of this name, as it is defined now (`pin`). null: the grant does not name it, names another definition of it, or
 * names it in a way that no arguments satisfy. Listing and calling both ask here, so that they can't disagree.
 */
export function findRight(grant: Grant, name: string, pin: string): ToolRight | null {
  return findIndexed(grant, name, pin)?.right ?? null;
}

/** Whether the grant allows a resource of this URI: listing and reading both ask here. */
export function mayRead({ rights }: Grant, uri: string): boolean {
  return rights.resources.some((rule) => checkConstraint(rule, uri));
}

/** Whether the grant may allow some resource whose URI begins so. It errs to the side of yes: a reading asks `mayRead` again. */
export function mayReadSome({ rights }: Grant, start: string): boolean {
  return rights.resources.some((rule) => mayAllowText(rule, start));
}

/** Whether the grant allows a prompt of this name: listing and getting both ask here. */
export function mayPrompt({ rights }: Grant, name: string): boolean {
  return rights.prompts.some((entry) => allowsPrompt(entry, name));
}

/** Whether the grant may allow some prompt whose name begins so. It errs to the side of yes: listing and getting ask `mayPrompt`. */
export function mayPromptSome({ rights }: Grant, start: string): boolean {
  return rights.prompts.some((entry) => meetPrompts(entry, `${start}*`) !== null);
}

/** Whether a call must be approved first: the right says so, or a sink is called after untrusted content came in. */
export function mustAsk(right: ToolRight, sink: boolean, taint: Taint): boolean {
  return right.ask || (sink && taint.length > 0 && !right.tainted);
}

function findIndexed(grant: Grant, name: string, pin: string): IndexedRight | null {
  const found = rightNamed(grant.rights, name);
  return found !== undefined && found.right.pin === pin && found.usable ? found : null;
}

function demandNeed(grant: Grant, need: Need): void {
  const { rights } = grant;
  switch (need.type) {
    case "tool":
      return demandTool(grant, need);
    case "resource":
      if (mayRead(grant, need.uri)) return;
      throw noRight(`to the resource ${valueInWords(need.uri)}`, "its resources", rights.resources.map(ruleInWords));
    case "prompt":
      if (mayPrompt(grant, need.name)) return;
      throw noRight(`to the prompt ${valueInWords(need.name)}`, "its prompts", rights.prompts.map(nameInWords));
    case "read":
      if (rights.read.some((folder) => isUnder(folder, need.path))) return;
      throw outside("Reading", need.path, rights.read, "--root");
    case "write":
      if (rights.write.some((folder) => isUnder(folder, need.path))) return;
      throw outside("Writing", need.path, rights.write, "--write");
    case "net":
      return demandNet(grant, need.url);
    case "run":
      if (grant.run !== undefined && need.action !== "create" && need.runId !== grant.run) throw otherRun();
      if (rights.runs.includes(need.action)) return;
      throw noRight(`to ${need.action} runs`, "what it may do with runs", rights.runs);
    case "session":
      if (rights.sessions.includes(need.name) || rights.sessions.includes("*")) return;
      throw noRight(`to the session ${valueInWords(need.name)}`, "its sessions", rights.sessions.map(nameInWords));
    case "isolation":
      if (isolationLevels.indexOf(need.level) >= isolationLevels.indexOf(rights.isolation)) return;
      throw noRight(`to run code at isolation ${need.level}`, "the weakest that it allows", [rights.isolation]);
    case "delegate":
      if (grant.delegations > 0) return;
      throw new CapstanError(
        "permission.no_right",
        "This grant may not be handed on. Ask its issuer for one that may.",
      );
    case "approve":
      if (rights.approve.includes(need.tool)) return;
      throw noRight(
        `to approve calls of ${valueInWords(need.tool)}`,
        "what it may approve",
        rights.approve.map(nameInWords),
      );
    default:
      throw new CapstanError("permission.no_right", "This grant holds no right of that kind.");
  }
}

function demandTool(grant: Grant, need: Need & { readonly type: "tool" }): void {
  const found = findIndexed(grant, need.name, need.pin);
  if (found === null) {
    const names = grant.rights.tools.map((right) => nameInWords(right.name));
    throw noRight(`to the tool ${valueInWords(need.name)} as it is now`, "its tools", names);
  }
  if (found.rules === null) return;
  for (const name of Object.keys(need.args)) {
    if (!found.rules.has(name)) throw argumentNotGranted(need.name, name, [...found.rules.keys()].map(nameInWords));
  }
  for (const argument of found.rules.values()) {
    const value = Object.hasOwn(need.args, argument.name) ? need.args[argument.name] : undefined;
    const allowed = value === undefined ? acceptsAbsence(argument) : checkConstraint(argument.rule, value);
    if (allowed) continue;
    throw new CapstanError(
      "permission.argument_refused",
      `${nameInWords(need.name)} is refused: its argument ${valueInWords(argument.name)} must be ${ruleInWords(argument.rule)}, and it is ` +
        `${valueInWords(value)}. Call it within that, or ask for a grant that allows more.`,
      { details: { tool: need.name, argument: argument.name } },
    );
  }
}

function argumentNotGranted(tool: string, argument: string, granted: readonly string[]): CapstanError {
  return new CapstanError(
    "permission.argument_not_granted",
    `${nameInWords(tool)} is refused: the grant does not name its argument ${valueInWords(argument)}. It names: ${shortList(granted)}. ` +
      "Leave it out, or ask for a grant that allows it.",
    { details: { tool, argument } },
  );
}

function demandNet({ rights: { net } }: Grant, url: string | undefined): void {
  if (url === undefined) {
    if (net.length > 0) return;
    throw noRight("to a network", "its hosts", []);
  }
  if (net.some((rule) => checkUrl(rule, url))) return;
  throw refusedUrl(url, net.map(urlRuleInWords));
}

function outside(verb: "Reading" | "Writing", path: string, folders: readonly string[], option: string): CapstanError {
  const plain = plainPath(path);
  const remedy =
    plain === null
      ? "Name an absolute path, without .. parts, backslashes or NUL"
      : `To allow it, the operator starts Capstan with ${option} ${argumentInWords(plain)}`;
  return new CapstanError(
    "permission.argument_refused",
    `${verb} ${valueInWords(path)} is outside the granted folders (${shortList(folders.map(nameInWords))}). ${remedy}`,
    { details: { path } },
  );
}

function refusedUrl(url: string, hosts: readonly string[]): CapstanError {
  // Only where it leads: the rest of a URL, user info too, may hold secrets.
  const place = url.replace(/^([^/]*\/\/)?([^/?#]*@)?([^/?#]*).*$/s, "$1$3");
  return new CapstanError(
    "permission.argument_refused",
    `Connecting to ${valueInWords(place)} is refused: the granted hosts are ${shortList(hosts)}, and a URL must spell its ` +
      "host plainly, without user info. Ask the operator for a grant made with --host for it.",
  );
}

function noRight(what: string, holds: string, held: readonly string[]): CapstanError {
  return new CapstanError(
    "permission.no_right",
    `This grant holds no right ${what}; ${holds}: ${shortList(held)}. Ask the operator for a grant that holds it.`,
  );
}

function otherRun(): CapstanError {
  return new CapstanError("token.other_run", "This grant was made for another run. Use the grant of this run.");
}

import { confirm, isCancel } from "@clack/prompts";
import { stringify } from "yaml";
import { CapstanError } from "../core/error.ts";
import { newId } from "../core/id.ts";
import type { Json } from "../core/json.ts";
import { canonicalJson, sha256 } from "../core/json.ts";
import { nearest } from "../core/nearest.ts";
import { quote, valueInWords } from "../core/value-in-words.ts";
import { toPublishedName } from "../host/mcp/names.ts";
import type { Difference, Pins } from "../host/mcp/pins/pins.ts";
import { openPins } from "../host/mcp/pins/pins.ts";
import type { ExitCode, Session } from "./command.ts";
import { toJsonText } from "./json.ts";
import { toLineDiff } from "./line-diff.ts";

const maxNames = 10;

/**
 * `capstan tools diff [NAME]`: what changed of the servers behind, of one of them or of one tool, and is blocked for that. Exit code 0
 * when nothing is, 1 when something is. The arguments of commands stand there too, so only the operator reads it.
 */
export async function diffTools(
  session: Session,
  target: string | undefined,
  options: { readonly json?: boolean },
): Promise<ExitCode> {
  session.demandOperator();
  const { app, print, tell, commandLine } = session;
  const waiting = await findWaiting(session, openPins(app), target);
  if (options.json === true) print(toJsonText(waiting));
  else show(session, waiting);
  if (waiting.length === 0) {
    tell(nothingWaits(target));
    return 0;
  }
  tell(`Blocked until it is approved: ${namesOf(waiting)}. Approve it with: ${commandLine("tools approve NAME")}`);
  return 1;
}

/**
 * `capstan tools approve NAME`: lets what changed of a server, or of one tool, be used from now on, exactly as it is shown here. Throws
 * `permission.no_right` for whoever holds a token, `usage.bad_option` where `--yes` is missing and nobody can be asked.
 */
export async function approveTools(
  session: Session,
  target: string,
  options: { readonly yes?: boolean },
): Promise<ExitCode> {
  session.demandOperator();
  const { app, tell } = session;
  const pins = openPins(app);
  const waiting = await findWaiting(session, pins, target);
  if (waiting.length === 0) {
    tell(nothingWaits(target));
    return 0;
  }
  show(session, waiting);
  if (options.yes !== true && !(await agrees(namesOf(waiting)))) {
    tell("Nothing was approved.");
    return 1;
  }
  await putOnRecord(session, waiting);
  const approved: Difference[] = [];
  for (const server of new Set(waiting.map((difference) => difference.server))) {
    approved.push(...(await pins.approve(server, waiting)));
  }
  if (approved.length > 0) {
    tell(`Approved ${namesOf(approved)}. Tokens made before hold what was there before: make new ones.`);
  }
  if (approved.length === waiting.length) return 0;
  tell("What changed again while it was shown is still blocked. Look at it again.");
  return 1;
}

/** What waits under a name: a server's, or that of a tool as it is published. Throws `usage.bad_option` for what is neither. */
async function findWaiting(
  { app: { config } }: Session,
  pins: Pins,
  target: string | undefined,
): Promise<readonly Difference[]> {
  const { servers } = config.mcp;
  const names = Object.keys(servers);
  const hasOwnNames = (server: string): boolean => servers[server]?.prefix === false;
  // A server that was taken out of the config by hand has left its pins.
  const all = (await pins.differences()).filter(({ server }) => names.includes(server));
  if (target === undefined) return all;
  const isMeant = ({ server, tool }: Difference): boolean =>
    tool !== undefined && (target === toPublishedName(server, tool) || (hasOwnNames(server) && target === tool));
  const found = all.filter((difference) => target === difference.server || isMeant(difference));
  const isNamed = names.some((name) => target === name || target.startsWith(`${name}__`) || hasOwnNames(name));
  if (found.length > 0 || isNamed) return found;
  const meant = nearest(target, [...names, ...all.map(nameOf)]);
  const hint = meant === undefined ? "See which servers there are: capstan mcp ls" : `Did you mean ${meant}?`;
  throw new CapstanError("usage.bad_option", `No server and no server's tool is called ${quote(target)}. ${hint}`);
}

function nothingWaits(target: string | undefined): string {
  return `Nothing${target === undefined ? "" : ` of ${quote(target)}`} waits for an approval.`;
}

function show({ print }: Session, differences: readonly Difference[]): void {
  for (const difference of differences) {
    const { server, tool, before, after } = difference;
    print(
      tool === undefined
        ? `${server}: how it is started or reached`
        : `${nameOf(difference)}: the tool ${valueInWords(tool)} of ${server}`,
    );
    for (const line of toLineDiff(toLines(before), toLines(after))) print(toVisible(line));
  }
}

/** Texts of several lines stand there line by line. The same value gives the same lines, whatever the order of its keys. */
function toLines(value: Json): readonly string[] {
  const text = stringify(value, { sortMapEntries: true, aliasDuplicateObjects: false, lineWidth: 0 });
  return text.replace(/\n$/, "").split("\n");
}

/** What shows nothing, or turns text around, as an escape: what is read is what the model will read. */
function toVisible(line: string): string {
  return line.replace(
    /(?! )[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/gu,
    (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`,
  );
}

const nameOf = ({ server, tool }: Difference): string => (tool === undefined ? server : toPublishedName(server, tool));

function namesOf(differences: readonly Difference[]): string {
  const names = [...new Set(differences.map(nameOf))];
  const rest = names.length - maxNames;
  return `${names.slice(0, maxNames).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}

async function agrees(names: string): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new CapstanError("usage.bad_option", "Nobody can be asked here. Add --yes to approve what is shown.");
  }
  const answer = await confirm({ message: `Approve ${names}?`, output: process.stderr, initialValue: false });
  return !isCancel(answer) && answer;
}

/** Before it counts: an approval that nobody can find later is none. */
async function putOnRecord({ app }: Session, differences: readonly Difference[]): Promise<void> {
  const { store, scope, principal, permissions } = app;
  const at = permissions.now();
  const entry = { at, scope, user: principal.user, grantId: "root", ancestors: [], taint: [] } as const;
  const audit = differences.map((difference) => {
    const row = { ...entry, callId: newId("call"), action: "tools/approve", name: nameOf(difference) };
    return { ...row, argsHash: sha256(canonicalJson(difference)), decision: "allow" as const };
  });
  await store.commit({ scope, audit });
}

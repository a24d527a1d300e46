import { existsSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { loadConfig } from "../config.ts";
import { counted } from "../core/counted.ts";
import { CapstanError } from "../core/error.ts";
import { fit } from "../core/issue.ts";
import { nearest } from "../core/nearest.ts";
import { ServerName } from "../host/mcp/config.ts";
import type { McpConfig } from "../host/mcp/config.ts";
import type { PinCounts } from "../host/mcp/pins/pins.ts";
import { toCommandLine } from "./command-line.ts";
import type { ExitCode, Globals } from "./command.ts";
import { onlyOperator, print, tell, toHome } from "./command.ts";
import { toJsonText } from "./json.ts";
import { editServers } from "./mcp-edit.ts";
import type { AddOptions } from "./mcp-entry.ts";
import { toEntry } from "./mcp-entry.ts";
import { countPins, forgetPins } from "./mcp-pins.ts";
import { readToken } from "./token-source.ts";

/** `capstan mcp add NAME -- COMMAND ARG…` or `--url URL`: puts a server behind Capstan. Nothing is started. */
export async function addServer(
  globals: Globals,
  name: string,
  command: readonly string[],
  options: AddOptions,
): Promise<ExitCode> {
  const path = await demandOwnConfig(globals);
  demandName(name);
  const { entry, advice } = toEntry(command, options);
  const { servers } = (await loadConfig(toHome(globals), globals.config === undefined ? undefined : path)).mcp;
  if (Object.hasOwn(servers, name)) {
    const remove = toCommandLine(globals, `mcp rm ${name}`);
    throw badOption(
      `A server called "${name}" is in ${path} already. Take another name, or remove it first: ${remove}`,
    );
  }
  await editServers(path, (document, at) => document.setIn([...at, name], document.createNode(entry)));
  tell(`Added ${name} to ${path}.`);
  for (const line of [...advice, ...toRelative(command)]) tell(line);
  const pattern = options.prefix === false ? "*" : `${name}__*`;
  const look = toCommandLine(globals, "tools ls --json", { allow: [pattern] });
  tell(`Nothing was started. Connect to it and look at its tools, which no grant holds by itself: ${look}`);
  return 0;
}

/**
 * `capstan mcp ls`: the servers in the config, as they stand there, and what is pinned of them; none is started. Secrets are named there,
 * so only the operator reads it.
 */
export async function listServers(globals: Globals, options: { readonly json?: boolean }): Promise<ExitCode> {
  const path = await demandOwnConfig(globals);
  const { mcp } = await loadConfig(toHome(globals), globals.config === undefined ? undefined : path);
  const rows = toRows(mcp, await countPins(toHome(globals)));
  if (options.json === true) {
    print(toJsonText(rows));
    return 0;
  }
  if (rows.length === 0) tell(`No server is in ${path}. Add one: capstan mcp add NAME -- COMMAND, or --url URL`);
  const lines = rows.map((row) => ({ ...row, pinned: toPinned(row) }));
  const width = (key: "name" | "pinned"): number => Math.max(0, ...lines.map((line) => line[key].length));
  for (const { name, kind, target, enabled, pinned } of lines) {
    const columns = [
      name.padEnd(width("name")),
      kind.padEnd(5),
      enabled ? "on " : "off",
      pinned.padEnd(width("pinned")),
    ];
    print(`${columns.join("  ")}  ${target}`);
  }
  if (rows.some(({ pending }) => pending > 0)) tell(`See what changed: ${toCommandLine(globals, "tools diff")}`);
  return 0;
}

/**
 * `capstan mcp rm NAME`: takes a server, and the comments inside its entry, out of the config, and drops its pins: added again, it is a
 * new one.
 */
export async function removeServer(globals: Globals, name: string): Promise<ExitCode> {
  const path = await demandOwnConfig(globals);
  const { mcp } = await loadConfig(toHome(globals), globals.config === undefined ? undefined : path);
  const names = Object.keys(mcp.servers);
  if (!names.includes(name)) {
    const meant = nearest(name, names);
    const known = names.length === 0 ? "There is none." : `There are ${names.join(", ")}.`;
    const hint = meant === undefined ? known : `Did you mean "${meant}"?`;
    throw badOption(`No server called ${JSON.stringify(name)} is in ${path}. ${hint}`);
  }
  await editServers(path, (document, at) => document.deleteIn([...at, name]));
  await forgetPins(toHome(globals), name);
  tell(`Removed ${name} from ${path}.`);
  return 0;
}

/** The config file that this command line means. Throws `permission.no_right` for whoever holds a token. */
async function demandOwnConfig(globals: Globals): Promise<string> {
  if ((await readToken(globals.grant, process.env)) !== undefined) throw onlyOperator();
  return globals.config === undefined ? join(toHome(globals), "capstan.yaml") : resolve(globals.config);
}

function demandName(name: string): void {
  const fitted = fit(ServerName, name, "NAME");
  if ("data" in fitted) return;
  throw badOption(`${JSON.stringify(name)} can't be a server's name: ${fitted.problems[0].text}.`);
}

const unknown: PinCounts = { isKnown: false, tools: 0, pending: 0 };

function toRows({ servers }: McpConfig, counts: ReadonlyMap<string, PinCounts>) {
  return Object.entries(servers).map(([name, server]) => ({
    name,
    ...("url" in server
      ? { kind: "http", target: server.url }
      : { kind: "stdio", target: [server.command, ...server.args].join(" ") }),
    enabled: server.enabled,
    ...(counts.get(name) ?? unknown),
  }));
}

function toPinned({ isKnown, tools, pending }: PinCounts): string {
  const found = isKnown ? counted(tools, "tool") : "never asked";
  return pending === 0 ? found : `${found}, ${counted(pending, "change")} blocked`;
}

/** A server starts in an empty folder of its own, where a path from here leads nowhere. */
function toRelative([, ...args]: readonly string[]): readonly string[] {
  return args
    .filter((arg) => !isAbsolute(arg) && /[./\\]/.test(arg) && existsSync(arg))
    .map(
      (arg) => `${arg} is a path from this folder, but the server starts in another: write ${resolve(arg)} instead.`,
    );
}

function badOption(text: string): CapstanError {
  return new CapstanError("usage.bad_option", text);
}

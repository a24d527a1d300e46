import { existsSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { loadConfig } from "../config.ts";
import { CapstanError } from "../core/error.ts";
import { fit } from "../core/issue.ts";
import { nearest } from "../core/nearest.ts";
import { ServerName } from "../host/mcp/config.ts";
import type { McpConfig } from "../host/mcp/config.ts";
import { toCommandLine } from "./command-line.ts";
import type { ExitCode, Globals } from "./command.ts";
import { onlyOperator, print, tell, toHome } from "./command.ts";
import { toJsonText } from "./json.ts";
import { editServers } from "./mcp-edit.ts";
import type { AddOptions } from "./mcp-entry.ts";
import { toEntry } from "./mcp-entry.ts";
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
  tell("This version keeps it in the config and does not start it yet: its tools are not behind the door.");
  return 0;
}

/** `capstan mcp ls`: the servers in the config, as they stand there. Secrets are named there, so only the operator reads it. */
export async function listServers(globals: Globals, options: { readonly json?: boolean }): Promise<ExitCode> {
  const path = await demandOwnConfig(globals);
  const { mcp } = await loadConfig(toHome(globals), globals.config === undefined ? undefined : path);
  const rows = toRows(mcp);
  if (options.json === true) {
    print(toJsonText(rows));
    return 0;
  }
  if (rows.length === 0) tell(`No server is in ${path}. Add one: capstan mcp add NAME -- COMMAND, or --url URL`);
  const width = Math.max(0, ...rows.map(({ name }) => name.length));
  for (const { name, kind, target, enabled } of rows) {
    print(`${name.padEnd(width)}  ${kind.padEnd(5)}  ${enabled ? "on " : "off"}  ${target}`);
  }
  return 0;
}

/** `capstan mcp rm NAME`: takes a server, and the comments inside its entry, out of the config. */
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

function toRows({ servers }: McpConfig) {
  return Object.entries(servers).map(([name, server]) =>
    "url" in server
      ? { name, kind: "http", target: server.url, enabled: server.enabled }
      : { name, kind: "stdio", target: [server.command, ...server.args].join(" "), enabled: server.enabled },
  );
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

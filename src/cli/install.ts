import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { confirm, isCancel } from "@clack/prompts";
import { CapstanError } from "../core/error.ts";
import { nearest } from "../core/nearest.ts";
import type { ExitCode, Globals } from "./command.ts";
import { onlyOperator, print, tell, toHome, withApp } from "./command.ts";
import type { Client, Entry } from "./install-clients.ts";
import { clients, toPlace } from "./install-clients.ts";
import { readIfThere, replaceFile } from "./replace-file.ts";
import { toRoots } from "./roots.ts";
import { readOwnFile, readToken } from "./token-source.ts";

export interface InstallOptions {
  readonly client: string;
  readonly root?: readonly string[];
  readonly write?: readonly string[];
  readonly as?: string;
  readonly grantFile?: string;
  readonly place?: string;
  readonly file?: string;
  readonly yes?: boolean;
}

/**
 * `capstan install --client NAME`: shows the difference, then writes it once the user agrees. Whatever else stands in the file is kept.
 * The entry holds absolute paths and never a token: it may name the file that holds one.
 */
export async function install(globals: Globals, options: InstallOptions): Promise<ExitCode> {
  if ((await readToken(globals.grant, process.env)) !== undefined) throw onlyOperator();
  const client = Object.hasOwn(clients, options.client) ? clients[options.client] : undefined;
  if (client === undefined) throw unknownClient(options.client);
  // A folder or a grant that is not there would keep the server from starting, where nobody reads why.
  await toRoots(options.root ?? [], "--root");
  await toRoots(options.write ?? [], "--write");
  if (options.as !== undefined) await demandNamed(globals, options.as);
  // As the server itself will read it: there, private, and not empty. Whether it is still good then is for whoever renews it.
  if (options.grantFile !== undefined) await readOwnFile(resolve(options.grantFile));
  const path = options.file === undefined ? toPlace(options.client, client, options.place) : resolve(options.file);
  const wanted = toEntry(globals, client, options);
  const before = await readConfig(path, client.key, wanted);
  const after = toWanted(before.value, client.key, wanted, path);
  const text = `${JSON.stringify(after, null, 2)}\n`;
  if (text === before.text) {
    tell(`${path} has this entry already.`);
    return 0;
  }
  print(path);
  for (const line of toDifference(before.text, text)) print(line);
  if (!(await agrees(options.yes === true))) {
    tell("Nothing was written. Add --yes to write without being asked.");
    return 0;
  }
  await replaceFile(path, before.text, text);
  tell(`Wrote ${path}. Restart ${options.client} to use it.`);
  return 0;
}

/** Throws `token.*` for a name that is no good grant of this home now. */
async function demandNamed(globals: Globals, name: string): Promise<void> {
  await withApp(globals, async ({ app: { permissions } }) => {
    await permissions.refresh();
    await permissions.named.get(name);
    return 0;
  });
}

function toEntry(globals: Globals, { type }: Client, options: InstallOptions): Entry {
  return {
    ...(type === undefined ? {} : { type }),
    command: process.execPath,
    args: toArguments(globals, options),
    ...(options.grantFile === undefined ? {} : { env: { CAPSTAN_GRANT_FILE: resolve(options.grantFile) } }),
  };
}

function toArguments(globals: Globals, { root = [], write = [], as }: InstallOptions): readonly string[] {
  const bin = fileURLToPath(new URL("../../bin/capstan.js", import.meta.url));
  const home =
    globals.home === undefined && process.env["CAPSTAN_HOME"] === undefined ? [] : ["--home", toHome(globals)];
  return [
    bin,
    ...home,
    ...(globals.config === undefined ? [] : ["--config", resolve(globals.config)]),
    "serve",
    ...(as === undefined ? [] : ["--as", as]),
    ...root.flatMap((folder) => ["--root", resolve(folder)]),
    ...write.flatMap((folder) => ["--write", resolve(folder)]),
  ];
}

interface Before {
  readonly text: string;
  readonly value: Readonly<Record<string, unknown>>;
}

/** The client's file. JSON with comments is refused, for what is written back would have lost them. */
async function readConfig(path: string, key: Client["key"], entry: Entry): Promise<Before> {
  const text = await readIfThere(path);
  if (text.trim() === "") return { text, value: {} };
  try {
    return { text, value: demandObject(JSON.parse(text)) };
  } catch (cause) {
    throw new CapstanError(
      "config.malformed",
      `${path} is not a plain JSON object; comments and commas at the end would be lost, so it is left as it is. ` +
        `Mend it, or add this to "${key}" by hand: "capstan": ${JSON.stringify(entry)}`,
      { cause },
    );
  }
}

function demandObject(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  throw new TypeError("not an object");
}

function toWanted(before: Before["value"], key: Client["key"], entry: Entry, path: string): Before["value"] {
  const servers = before[key] ?? {};
  if (typeof servers !== "object" || servers === null || Array.isArray(servers)) {
    throw new CapstanError(
      "config.malformed",
      `"${key}" in ${path} is not an object, so the file is left as it is. Mend it first.`,
    );
  }
  return { ...before, [key]: { ...servers, capstan: entry } };
}

/** The lines that differ, with what is around them left out: both files are short, and their common start and end say little. */
function toDifference(before: string, after: string): readonly string[] {
  const old = before.split("\n");
  const now = after.split("\n");
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start++;
  let end = 0;
  while (end < Math.min(old.length, now.length) - start && old.at(-1 - end) === now.at(-1 - end)) end++;
  const removed = old.slice(start, old.length - end).filter((line) => line !== "");
  return [...removed.map((line) => `- ${line}`), ...now.slice(start, now.length - end).map((line) => `+ ${line}`)];
}

async function agrees(yes: boolean): Promise<boolean> {
  if (yes) return true;
  if (!process.stdin.isTTY || !process.stderr.isTTY) return false;
  const answer = await confirm({ message: "Write this?", output: process.stderr });
  return !isCancel(answer) && answer;
}

function unknownClient(name: string): CapstanError {
  const names = Object.keys(clients);
  const meant = nearest(name, names);
  const hint = meant === undefined ? `There are ${names.join(", ")}.` : `Did you mean "${meant}"?`;
  return new CapstanError("usage.bad_option", `No client is called "${name}". ${hint}`);
}

import { parse, stringify } from "yaml";
import { CapstanError } from "../core/error.ts";
import type { JsonObject } from "../core/json.ts";
import { isJsonObject } from "../core/json.ts";
import { parseDefinition } from "../host/agents/agents.ts";
import { parseCount } from "./amounts.ts";
import type { ExitCode, Session } from "./command.ts";
import { toJsonText } from "./json.ts";
import { readArgument } from "./read-argument.ts";

const maxFileBytes = 1024 * 1024;

/** `capstan agents ls`: the name of each, and its newest version. What agents are told is the operator's, as the config is. */
export async function listAgents(session: Session, options: { readonly json?: boolean }): Promise<ExitCode> {
  session.demandOperator();
  const { app, print } = session;
  const agents = await app.host.agents.list();
  if (options.json === true) print(toJsonText(agents));
  else {
    for (const { name, version } of agents)
      print(`${name}  ${version === null ? "not used yet" : `version ${version}`}`);
  }
  return 0;
}

/** `capstan agents show NAME`: as YAML that `agents set` takes, or as the library gives it. */
export async function showAgent(
  session: Session,
  name: string,
  options: { readonly version?: string; readonly json?: boolean },
): Promise<ExitCode> {
  session.demandOperator();
  const { app, print } = session;
  const reference = options.version === undefined ? name : `${name}@${parseCount(options.version)}`;
  const agent = await app.host.agents.find(reference);
  if (options.json === true) print(toJsonText(agent));
  else print(`# Version ${agent.version}\n${stringify({ name: agent.name, ...agent.definition }).trimEnd()}`);
  return 0;
}

/** `capstan agents set FILE`: the next version of the agent that the file holds; the same as before is no version. */
export async function setAgent(session: Session, file: string): Promise<ExitCode> {
  session.demandOperator();
  const { app, tell } = session;
  const bytes = await readArgument(session, await session.grant(), {
    option: "agents set",
    file,
    maxBytes: maxFileBytes,
  });
  const { name, ...definition } = parseAgent(bytes.toString(), file);
  if (typeof name !== "string") throw refuse(file, "says no name");
  const { version } = await app.host.agents.save(name, parseDefinition(definition, name));
  tell(`${name} is kept as version ${version}. Use it with --agent ${name}.`);
  return 0;
}

/** `capstan agents rm NAME`: nothing finds it by its name any more, and `NAME@VERSION` still does. */
export async function removeAgent(session: Session, name: string): Promise<ExitCode> {
  session.demandOperator();
  await session.app.host.agents.remove(name);
  session.tell(`${name} is no agent any more. Its versions stay: --agent ${name}@VERSION.`);
  return 0;
}

function parseAgent(text: string, file: string): JsonObject {
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    throw refuse(file, `is no YAML (${cause instanceof Error ? cause.message.split("\n")[0] : "unreadable"})`, cause);
  }
  if (isJsonObject(value)) return value;
  throw refuse(file, "holds no agent");
}

function refuse(file: string, why: string, cause?: unknown): CapstanError {
  const form = "Its keys are those of an agent in the config, and name: NAME. `capstan agents show` prints such a file";
  return new CapstanError("usage.bad_option", `${file} ${why}. ${form}.`, { cause });
}

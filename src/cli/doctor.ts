import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { App } from "../app.ts";
import { toCapstanError } from "../core/error.ts";
import { checkAgents } from "../host/agents/check.ts";
import { keyVariables } from "../host/providers/all.ts";
import { validateConfig } from "../host/providers/validate-config.ts";
import type { SandboxConfig } from "../sandbox/config.ts";
import type { Engine, Language } from "../sandbox/engine.ts";
import { whyNotOffered } from "../sandbox/offer.ts";
import type { ExitCode, Globals } from "./command.ts";
import { print, tell, toHome, withApp } from "./command.ts";
import { toJsonText } from "./json.ts";
import { mayBeBehind } from "./process-grant.ts";

/** One thing that was tried: whether it works here, and what to do where it does not. */
interface Finding {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** An engine that was tried. Its languages are those for which the config offers it. */
interface EngineFinding extends Finding {
  readonly languages: readonly Language[];
}

/**
 * `capstan doctor`: tries each part on this machine; models are only looked at, as asking one costs. Exit code 1 where the home does not
 * work, a model or an agent of the config can't be used, or no engine of those that the config offers for a language of
 * `neededLanguages`.
 */
export async function examine(globals: Globals, options: { json?: boolean }): Promise<ExitCode> {
  const { home, engines, agents, models, confine } = await tryHome(globals);
  const node = { name: "node", ok: true, detail: process.versions.node };
  const findings: readonly Finding[] = [
    node,
    home,
    await findBubblewrap(confine),
    ...engines,
    ...agents,
    ...models,
    ...findKeys(),
  ];
  if (options.json === true) print(toJsonText(findings.map(({ name, ok, detail }) => ({ name, ok, detail }))));
  else for (const { name, ok, detail } of findings) print(`${ok ? "ok     " : "missing"}  ${name}: ${detail}`);
  const isRun = (language: Language): boolean => {
    const speakers = engines.filter(({ languages }) => languages.includes(language));
    return speakers.length === 0 || speakers.some(({ ok }) => ok);
  };
  return home.ok && agents.every(({ ok }) => ok) && areUsable(models) && neededLanguages.every(isRun) ? 0 : 1;
}

/** What runs wherever Capstan does, with nothing installed beside it. */
const neededLanguages: readonly Language[] = ["javascript", "typescript", "python"];

/** The home with its config and its store, and the engines, which are set up by it: without a home there are none to try. */
async function tryHome(globals: Globals): Promise<{
  readonly home: Finding;
  readonly engines: readonly EngineFinding[];
  readonly agents: readonly Finding[];
  readonly models: readonly Finding[];
  readonly confine?: SandboxConfig["bubblewrap"];
}> {
  let engines: readonly EngineFinding[] = [];
  let agents: readonly Finding[] = [];
  let models: readonly Finding[] = [];
  let confine: SandboxConfig["bubblewrap"] = "auto";
  try {
    await withApp(globals, async ({ app, signal }) => {
      confine = app.config.sandbox.bubblewrap;
      engines = await Promise.all(app.engines.map((engine) => tryEngine(engine, app.config.sandbox, signal)));
      agents = await tryAgents(app);
      models = lookAtModels(app);
      return 0;
    });
    return { home: { name: "home", ok: true, detail: toHome(globals) }, engines, agents, models, confine };
  } catch (thrown) {
    const { code, message } = toCapstanError(thrown);
    if (!/^(config|store)\./.test(code)) throw thrown;
    return { home: { name: "home", ok: false, detail: `${code}: ${message}` }, engines, agents, models };
  }
}

/** The agents of the config. The servers behind are not started for it, so what their tools may be is not looked for. */
async function tryAgents({ config, home, toolNames: tools }: App): Promise<readonly Finding[]> {
  const around = { home, tools, mayCome: (pattern: string) => mayBeBehind(config.mcp, pattern) };
  const checked = await checkAgents(config.host.agents, around);
  return checked.map(({ name, problems }) => ({
    name: `agent ${name}`,
    ok: problems.length === 0,
    detail: problems.length === 0 ? (config.host.agents[name]?.description ?? "") : problems.join(" "),
  }));
}

function lookAtModels({ config }: App): readonly Finding[] {
  return validateConfig({ config: config.host, env: process.env }).map(({ name, problems, notes }) => ({
    name,
    ok: problems.length === 0,
    detail: [...problems, ...notes].join(" "),
  }));
}

/** An endpoint of which no model is named may wait for its key. */
function areUsable(models: readonly Finding[]): boolean {
  return models.every(({ name, ok }) => ok || !name.startsWith("model "));
}

async function tryEngine(engine: Engine, config: SandboxConfig, signal: AbortSignal): Promise<EngineFinding> {
  const { name, level, languages, packages = [] } = engine;
  const hint = setTimeout(() => tell(`Trying ${name}. The first time takes a few seconds.`), 1_000);
  const missing = await engine.probe(signal).finally(() => clearTimeout(hint));
  const why = whyNotOffered(engine, config);
  const what = [
    languages.join(", "),
    `isolation ${level}`,
    ...(packages.length === 0 ? [] : [`packages ${packages.join(", ")}`]),
    ...(why === undefined ? [] : [`not offered: ${why}`]),
  ].join("; ");
  return {
    name,
    ok: missing === null,
    detail: missing === null ? what : `${what}. ${missing.reason} ${missing.remedy}`,
    languages: why === undefined ? languages : [],
  };
}

/** Started as the engines start it: without the variables of this process, so by the folders where the system looks. */
async function findBubblewrap(confine: SandboxConfig["bubblewrap"] = "auto"): Promise<Finding> {
  try {
    const { stdout } = await promisify(execFile)("bwrap", ["--version"], { env: {}, timeout: 5_000 });
    const use = confine === "auto" ? "runs inside it where it works" : "does without it, by sandbox.bubblewrap";
    return { name: "bwrap", ok: true, detail: `${stdout.trim()}; pyodide ${use}` };
  } catch {
    const detail =
      "not installed, so the network of pyodide is stubbed in its own process and not denied by the kernel. Debian and Ubuntu: apt install bubblewrap";
    return { name: "bwrap", ok: false, detail };
  }
}

/** Keys are mentioned, never spent unasked. */
function findKeys(): readonly Finding[] {
  return keyVariables
    .filter(([variable]) => (process.env[variable] ?? "") !== "")
    .map(([variable, type]) => ({
      name: variable,
      ok: true,
      detail: `is set; used only when a model names it (--model ${type}:NAME)`,
    }));
}

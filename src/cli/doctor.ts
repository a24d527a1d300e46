import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { toCapstanError } from "../core/error.ts";
import type { Engine } from "../sandbox/engine.ts";
import type { ExitCode, Globals } from "./command.ts";
import { print, tell, toHome, withApp } from "./command.ts";
import { toJsonText } from "./json.ts";

/** One thing that was tried: whether it works here, and what to do where it does not. */
interface Finding {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** `capstan doctor`: tries each part on this machine. Exit code 1 where a part that the defaults need does not work. */
export async function examine(globals: Globals, options: { json?: boolean }): Promise<ExitCode> {
  const { home, engines } = await tryHome(globals);
  const node = { name: "node", ok: true, detail: process.versions.node };
  const findings = [node, home, await findBubblewrap(), ...engines, ...findKeys()];
  if (options.json === true) print(toJsonText(findings));
  else for (const { name, ok, detail } of findings) print(`${ok ? "ok     " : "missing"}  ${name}: ${detail}`);
  return [home, ...engines].every(({ ok }) => ok) ? 0 : 1;
}

/** The home with its config and its store, and the engines, which are set up by it: without a home there are none to try. */
async function tryHome(globals: Globals): Promise<{ readonly home: Finding; readonly engines: readonly Finding[] }> {
  let engines: readonly Finding[] = [];
  try {
    await withApp(globals, async ({ app, signal }) => {
      engines = await Promise.all(app.engines.map((engine) => tryEngine(engine, signal)));
      return 0;
    });
    return { home: { name: "home", ok: true, detail: toHome(globals) }, engines };
  } catch (thrown) {
    const { code, message } = toCapstanError(thrown);
    if (!/^(config|store)\./.test(code)) throw thrown;
    return { home: { name: "home", ok: false, detail: `${code}: ${message}` }, engines };
  }
}

async function tryEngine(engine: Engine, signal: AbortSignal): Promise<Finding> {
  const hint = setTimeout(() => tell(`Trying ${engine.name}. The first time takes a few seconds.`), 1_000);
  const missing = await engine.probe(signal).finally(() => clearTimeout(hint));
  const works = `${engine.languages.join(", ")}; isolation ${engine.level}`;
  const detail = missing === null ? works : `${missing.reason} ${missing.remedy}`;
  return { name: engine.name, ok: missing === null, detail };
}

async function findBubblewrap(): Promise<Finding> {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(folder, "bwrap");
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return { name: "bubblewrap", ok: true, detail: `${path}; Python runs in namespaces of its own` };
  }
  const detail =
    "not installed, so Python's network is stubbed in its own process and not denied by the kernel. Debian and Ubuntu: apt install bubblewrap";
  return { name: "bubblewrap", ok: false, detail };
}

/** Keys are mentioned, never spent unasked. */
function findKeys(): readonly Finding[] {
  return ["OPENAI_API_KEY"]
    .filter((name) => (process.env[name] ?? "") !== "")
    .map((name) => ({
      name,
      ok: true,
      detail: "is set; used only when a model names it (--model openai-compatible:NAME)",
    }));
}

import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";
import type { ExitCode, Session } from "./command.ts";
import { toJsonText } from "./json.ts";

/** One thing that was tried: whether it works here, and what to do where it does not. */
interface Finding {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** `capstan doctor`: tries each part on this machine. Exit code 1 where a part that the defaults need does not work. */
export async function examine({ app, print, signal }: Session, options: { json?: boolean }): Promise<ExitCode> {
  const findings: Finding[] = [
    { name: "node", ok: true, detail: process.versions.node },
    { name: "home", ok: true, detail: app.home },
    await findBubblewrap(),
    ...(await Promise.all(
      app.engines.map(async (engine): Promise<Finding> => {
        const missing = await engine.probe(signal);
        const works = `${engine.languages.join(", ")}; isolation ${engine.level}`;
        return {
          name: engine.name,
          ok: missing === null,
          detail: missing === null ? works : `${missing.reason} ${missing.remedy}`,
        };
      }),
    )),
    ...findKeys(),
  ];
  if (options.json === true) print(toJsonText(findings));
  else for (const { name, ok, detail } of findings) print(`${ok ? "ok     " : "missing"}  ${name}: ${detail}`);
  const engines = new Set(app.engines.map(({ name }) => name));
  return findings.every(({ name, ok }) => ok || !engines.has(name)) ? 0 : 1;
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

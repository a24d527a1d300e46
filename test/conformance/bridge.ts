import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { bin, capstan, environment } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";
import { type Served, openServed } from "./served.ts";
import { taskTools } from "./fixture-tasks.ts";
import { conformanceTools } from "./fixture-tools.ts";
import { openProxy } from "./proxy.ts";

/** How long Capstan may take until it serves what stands behind it. */
const startMs = 60_000;

/**
 * Serves the fixture through the real command: proxy, `capstan serve --http`, proxy, fixture. `isOld`: the fixture is spoken to in the
 * older era. What the fixture offers keeps its own names, and the operator says that its tools read. Handles of tasks don't pass through the
 * bridge: without the tools that give some, the suite does not wait for any.
 */
export async function openBridged({ isOld }: { readonly isOld: boolean }): Promise<Served> {
  await using opened = new AsyncDisposableStack();
  const behind = opened.use(await openServed({ isOld }));
  const front = opened.use(await openProxy({ isOld: false }));
  const home = opened.use(await tempFolder());
  const tasks = new Set(taskTools().map(({ name }) => name));
  const all = conformanceTools({ tools() {}, prompts() {} }).map(({ name }) => name);
  const names = all.filter((name) => !tasks.has(name));
  const tools = Object.fromEntries(names.map((name) => [name, { effect: "read", sink: false }]));
  const config = {
    server: { hosts: [front.host], origins: [`http://${front.host}`] },
    mcp: { servers: { fixture: { url: behind.url, private: true, prefix: false, tools } } },
  };
  await writeFile(join(home.path, "capstan.yaml"), JSON.stringify(config), { mode: 0o600 });
  const child = spawn(process.execPath, [bin, "--home", home.path, "serve", "--http", "0"], {
    env: environment,
    stdio: ["ignore", "ignore", "pipe"],
  });
  opened.defer(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGTERM");
    await once(child, "exit");
  });
  const url = await readUrl(createInterface({ input: child.stderr }));
  const rights = [...names.flatMap((name) => ["--allow", name]), "--resource", "test://*", "--prompt", "*"];
  const created = await capstan(home.path, ["grant", "create", ...rights]);
  if (created.code !== 0) throw new Error(`There is no token: ${created.stderr}`);
  front.target(url, created.stdout.trim());
  const owned = opened.move();
  return { url: `http://${front.host}/mcp`, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Where Capstan says that it listens. */
async function readUrl(lines: ReturnType<typeof createInterface>): Promise<string> {
  const said: string[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const fail = (): void => reject(new Error(`Capstan does not serve. It said:\n${said.join("\n")}`));
  const timer = setTimeout(fail, startMs);
  lines.on("line", (line) => {
    said.push(line);
    const url = /MCP at (http:\S+)\/mcp/.exec(line)?.[1];
    if (url !== undefined) resolve(url);
  });
  lines.on("close", fail);
  return await promise.finally(() => clearTimeout(timer));
}

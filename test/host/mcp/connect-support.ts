import { readdir, readFile, readlink } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { CapstanError } from "../../../src/core/error.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { isJsonObject, type JsonObject } from "../../../src/core/json.ts";
import { McpConfig } from "../../../src/host/mcp/config.ts";
import { openConnection } from "../../../src/host/mcp/connection/connect.ts";
import type {
  Connection,
  ConnectionServices,
  RequestOptions,
  ServerChange,
} from "../../../src/host/mcp/connection/connection.ts";
import { compiled } from "../../support/capstan.ts";
import { tempFolder } from "../../support/temp.ts";

const program = fileURLToPath(new URL("stdio-server.ts", import.meta.url));

/** The config of the server by hand. */
export function byHand(args: readonly string[], more: object = {}): object {
  return {
    command: process.execPath,
    args: [program, ...args],
    env: compiled,
    bubblewrap: "never",
    timeoutMs: 2_000,
    ...more,
  };
}

export interface TestConnection extends Connection {
  readonly home: string;
  readonly lines: string[];
  readonly changes: ServerChange[];
  /** Calls a tool and gives the text of its first block. */
  text(tool: string, args?: JsonObject, options?: Partial<RequestOptions>): Promise<string>;
  /** How often the server was started. */
  starts(): number;
}

/** A connection over a home of its own, which nobody listens to unless `isHeard`. */
export async function openTestConnection(
  config: object,
  { isHeard = false, ...services }: Partial<ConnectionServices> & { readonly isHeard?: boolean } = {},
): Promise<TestConnection> {
  const folder = await tempFolder();
  const home = services.home ?? folder.path;
  const lines: string[] = [];
  const changes: ServerChange[] = [];
  const parsed = McpConfig.parse({ servers: { hand: config } }).servers["hand"];
  if (parsed === undefined) throw new Error("no config");
  const { PATH, HOME } = process.env;
  const env = { PATH, HOME };
  const connection = openConnection({
    ...{ name: "hand", config: parsed, env, home, version: "0.0.0-test", clock: systemClock },
    log: (line) => void lines.push(line),
    ...services,
  });
  if (isHeard) connection.on((change) => void changes.push(change));
  return {
    ...connection,
    ...{ home, lines, changes },
    async text(tool, args = {}, options = {}) {
      const result = await connection.request(
        "tools/call",
        { name: tool, arguments: args },
        { signal: AbortSignal.timeout(110_000), ...options },
      );
      return textOf(result);
    },
    starts: () => lines.filter((line) => line.includes("stderr: started")).length,
    async [Symbol.asyncDispose]() {
      await connection[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function textOf(result: JsonObject): string {
  const [block] = Array.isArray(result["content"]) ? result["content"] : [];
  return isJsonObject(block) && typeof block["text"] === "string" ? block["text"] : JSON.stringify(result);
}

/** The code of what a promise rejects with; the value where it does not. */
export async function codeOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    (value) => ({ value }),
    (thrown: unknown) => (thrown instanceof CapstanError ? thrown.code : thrown),
  );
}

/** Waits until something holds, at most `ms`. */
export async function until(holds: () => boolean | Promise<boolean>, ms = 60_000): Promise<void> {
  for (const end = Date.now() + ms; !(await holds());) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${holds.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Whether a process is there; one that has ended and was not collected is not. */
export async function isAlive(pid: number): Promise<boolean> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    return !/\) [ZX] /.test(stat);
  } catch {
    return false;
  }
}

/** The processes that run in a folder under this one. */
export async function processesIn(home: string): Promise<readonly number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const folders = await Promise.all(pids.map(async (pid) => await readlink(`/proc/${pid}/cwd`).catch(() => "")));
  return pids.filter((_, index) => folders[index]?.startsWith(home)).map(Number);
}

/** Those of the processes that are there. */
export async function aliveOf(pids: readonly number[]): Promise<readonly number[]> {
  const alive = await Promise.all(pids.map(isAlive));
  return pids.filter((_, index) => alive[index]);
}

import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { CapstanError } from "./core/error.ts";
import { fit } from "./core/issue.ts";
import { HostConfig } from "./host/config.ts";
import { McpConfig } from "./host/mcp/config.ts";
import { ServerSettings } from "./server/config.ts";
import { PermissionsConfig } from "./permissions/config.ts";
import { SandboxConfig } from "./sandbox/config.ts";
import { ToolsConfig } from "./tools/config.ts";

/** The whole config: one part per room, each with its defaults. `capstan.example.yaml` documents every key. */
export const Config = z.strictObject({
  permissions: PermissionsConfig.prefault({}),
  sandbox: SandboxConfig.prefault({}),
  tools: ToolsConfig.prefault({}),
  host: HostConfig.prefault({}),
  mcp: McpConfig.prefault({}),
  server: ServerSettings.prefault({}),
});
export type Config = Readonly<z.infer<typeof Config>>;

/** A config file larger than this is a mistake. */
const maxBytes = 1024 * 1024;

/**
 * Reads `capstan.yaml` of the home, or the file that was named; never one from the working folder, so that a repository that is merely
 * opened names no commands and no endpoints. No file in the home means all defaults; a named file must exist. Throws `config.*`.
 */
export async function loadConfig(home: string, file: string | undefined): Promise<Config> {
  const path = file ?? join(home, "capstan.yaml");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if (file === undefined && cause instanceof Error && "code" in cause && cause.code === "ENOENT")
      return Config.parse({});
    throw new CapstanError(
      "config.missing",
      `The config file ${path} can't be read. Check the path and its permissions.`,
      {
        cause,
      },
    );
  }
  await demandOwn(path);
  if (text.length > maxBytes) throw new CapstanError("config.malformed", `${path} is larger than ${maxBytes} bytes.`);
  return await parseConfig(text, path);
}

/** A config that anybody may write is anybody's. Windows has no such modes. */
async function demandOwn(path: string): Promise<void> {
  if (process.getuid === undefined || ((await stat(path)).mode & 0o002) === 0) return;
  throw new CapstanError("config.unsafe_home", `Everybody may write ${path}. Run: chmod o-w ${path}`);
}

/** Parses the text of a config file; `path` is for messages only. Throws `config.*`. */
export async function parseConfig(text: string, path: string): Promise<Config> {
  // Its 72 files would be read at each start; most homes have no config.
  const { LineCounter, parseDocument } = await import("yaml");
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const [error] = document.errors;
  if (error !== undefined) {
    const { line } = lines.linePos(error.pos[0]);
    throw new CapstanError("config.malformed", `${path}, line ${line}, is not YAML: ${error.message}`);
  }
  const fitted = fit(Config, document.toJS({ maxAliasCount: 100 }) ?? {}, "the file");
  if ("data" in fitted) return fitted.data;
  const [{ text: problem, isUnknownKey }] = fitted.problems;
  throw new CapstanError(isUnknownKey ? "config.unknown_key" : "config.bad_value", `${path}: ${problem}.`);
}

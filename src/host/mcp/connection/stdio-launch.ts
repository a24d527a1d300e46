import { execFile } from "node:child_process";
import { access, constants, mkdir, realpath, stat } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";
import { promisify } from "node:util";
import { CapstanError } from "../../../core/error.ts";
import { localPrincipal } from "../../../core/scope.ts";
import type { StdioServer } from "../config.ts";
import type { ConnectionServices } from "./connection.ts";
import { toServerEnvironment } from "./environment.ts";

const probeTimeoutMs = 5_000;

/** A program, ready to be started. */
export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

type LaunchServices = Pick<ConnectionServices, "name" | "env" | "home" | "principal"> & {
  readonly config: StdioServer;
  readonly log: (line: string) => void;
};

/**
 * What to start for a server on stdio: its command in the environment of the config and in a folder of its own, with Capstan's home
 * masked where bubblewrap works. Throws `mcp.variable_missing` and `mcp.start_failed`.
 */
export async function toLaunch(services: LaunchServices): Promise<Launch> {
  const { name, config, home, log } = services;
  const env = toServerEnvironment(name, config.env, services.env);
  await demandCommand(name, config.command, env["PATH"] ?? "");
  const cwd = config.cwd ?? (await ownFolder(services));
  await demandFolder(name, cwd);
  const plain = { command: config.command, args: config.args, env, cwd };
  if (config.bubblewrap === "never") return plain;
  const mask = await toMask(home, config.cwd === undefined ? cwd : undefined);
  const problem = await findProblem(mask, env);
  if (problem === undefined)
    return { ...plain, command: "bwrap", args: [...mask, "--chdir", cwd, "--", config.command, ...config.args] };
  log(`bubblewrap does not work here (${problem}): the server can read Capstan's home`);
  return plain;
}

async function ownFolder({ name, home, principal = localPrincipal }: LaunchServices): Promise<string> {
  const folder = join(home, "mcp", "servers", name, principal.org, principal.user);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return await realpath(folder);
}

/**
 * Everything stays as it is, but for Capstan's home, in whose place is an empty folder, and the other processes, through which the home
 * could be reached. When Capstan or bubblewrap ends, the kernel kills what is inside.
 */
async function toMask(home: string, kept: string | undefined): Promise<readonly string[]> {
  return [
    ...["--dev-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "--die-with-parent"],
    ...["--tmpfs", await realpath(home)],
    ...(kept === undefined ? [] : ["--bind", kept, kept]),
  ];
}

/** Tries the mask itself: whether it works depends on the kernel, on the container and on the home. */
async function findProblem(mask: readonly string[], env: Launch["env"]): Promise<string | undefined> {
  try {
    await promisify(execFile)("bwrap", [...mask, "--", "true"], { env, timeout: probeTimeoutMs });
    return undefined;
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT"
      ? "it is not installed"
      : "it can't mask the home";
  }
}

/** Told here, because bubblewrap would tell it on stderr alone. */
async function demandCommand(server: string, command: string, path: string): Promise<void> {
  const isPath = command.includes("/") || process.platform === "win32";
  if (isPath && !isAbsolute(command)) return;
  const places = isPath
    ? [command]
    : path
        .split(delimiter)
        .filter((folder) => folder !== "")
        .map((folder) => join(folder, command));
  for (const place of places) {
    if (await canRun(place)) return;
  }
  throw new CapstanError(
    "mcp.start_failed",
    `The MCP server ${server} can't be started: there is no program ${command}${isPath ? "" : " on the PATH"}. Correct mcp.servers.${server}.command.`,
    { details: { server } },
  );
}

/** Told here, because the system says of a missing folder the same as of a missing program. */
async function demandFolder(server: string, folder: string): Promise<void> {
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory() === true) return;
  throw new CapstanError(
    "mcp.start_failed",
    `The MCP server ${server} can't be started: there is no folder ${folder}. Correct mcp.servers.${server}.cwd.`,
    { details: { server } },
  );
}

async function canRun(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, sep } from "node:path";
import { getMcpConfigForManifest, vAny } from "@anthropic-ai/mcpb";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { z } from "zod";

/**
 * Makes `dist/capstan-VERSION.mcpb`: the packed package with what it needs at run time, installed as a stranger would, and the launcher
 * of `bundle/`. Then unpacks what it made, starts it as a client would, and lists its tools. Throws on the first thing that fails.
 */
const root = join(import.meta.dirname, "..");
const Package = z.object({ version: z.string(), description: z.string() });

/** The manifest of the bundle: the template of `bundle/` with what package.json says. */
export function toManifest(): Readonly<Record<string, unknown>> {
  const { version, description } = Package.parse(readJson("package.json"));
  return { ...z.record(z.string(), z.unknown()).parse(readJson("bundle/manifest.json")), version, description };
}

/** What the user has set in the client: folders, and the text of the token. */
export type Settings = Readonly<{ read?: string[]; write?: string[]; token?: string }>;

/** A client of the bundle that lies unpacked in `folder`, started as its manifest says. `home` is Capstan's home there. */
export async function openBundle(folder: string, home: string, settings: Settings): Promise<Client & AsyncDisposable> {
  const manifest = vAny.McpbManifestSchema.parse(JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")));
  const config = await getMcpConfigForManifest({
    manifest,
    extensionPath: folder,
    systemDirs: {},
    userConfig: settings,
    pathSeparator: sep,
  });
  if (config === undefined)
    throw new Error("The manifest has no mcp_config, or a setting that is required is missing.");
  const client = new Client({ name: "bundle-check", version: "1.0.0" });
  const PATH = [dirname(process.execPath), process.env["PATH"]].join(delimiter);
  const env = { ...config.env, PATH, CAPSTAN_HOME: home };
  await client.connect(new StdioClientTransport({ command: config.command, args: config.args ?? [], env }));
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.close() });
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(join(root, path), "utf8"));
}

function run(command: string, args: readonly string[], cwd: string): string {
  const env = { ...process.env, PATH: [join(root, "node_modules/.bin"), process.env["PATH"]].join(delimiter) };
  const stdio = ["ignore", "pipe", "inherit"] as const;
  return execFileSync(command, args, { cwd, env, encoding: "utf8", stdio: [...stdio], timeout: 300_000 });
}

async function makeBundle(work: string): Promise<void> {
  const { version } = Package.parse(readJson("package.json"));
  const staging = join(work, "staging");
  mkdirSync(staging);
  run("npm", ["pack", "--silent", "--pack-destination", work], root);
  const archive = readdirSync(work).find((name) => name.endsWith(".tgz"));
  if (archive === undefined) throw new Error("npm pack made no .tgz file.");
  writeFileSync(join(staging, "package.json"), '{ "name": "capstan-bundle", "private": true, "type": "module" }\n');
  run("npm", ["install", "--omit=dev", "--no-audit", "--no-fund", "--silent", join(work, archive)], staging);
  copyFileSync(join(root, "bundle/start.js"), join(staging, "start.js"));
  // The install has written where the archive lay, which means nothing elsewhere.
  writeFileSync(join(staging, "package.json"), '{ "name": "capstan-bundle", "private": true, "type": "module" }\n');
  rmSync(join(staging, "package-lock.json"), { force: true });
  rmSync(join(staging, "node_modules/.package-lock.json"), { force: true });
  writeFileSync(join(staging, "manifest.json"), `${JSON.stringify(toManifest(), null, 2)}\n`);

  mkdirSync(join(root, "dist"), { recursive: true });
  const bundle = join(root, "dist", `capstan-${version}.mcpb`);
  run("mcpb", ["validate", join(staging, "manifest.json")], root);
  run("mcpb", ["pack", staging, bundle], root);
  run("mcpb", ["unpack", bundle, join(work, "unpacked")], root);
  await demandStart(join(work, "unpacked"), join(work, "home"));
  console.log(`bundle: ${bundle} (${(statSync(bundle).size / 1e6).toFixed(1)} MB) starts and lists its tools`);
}

async function demandStart(folder: string, home: string): Promise<void> {
  await using client = await openBundle(folder, home, { read: [folder] });
  const { tools } = await client.listTools();
  for (const wanted of ["calculator", "execute_code", "fs_list"]) {
    if (!tools.some(({ name }) => name === wanted)) throw new Error(`The bundle lists no tool called ${wanted}.`);
  }
  for (const language of ["javascript", "python"]) {
    const result = await client.callTool({ name: "execute_code", arguments: { language, code: "6 * 7" } });
    if (!JSON.stringify(result.structuredContent).includes("42")) {
      throw new Error(`${language} in the bundle answered ${JSON.stringify(result)} where 42 was expected.`);
    }
  }
}

if (import.meta.main) {
  const work = mkdtempSync(join(tmpdir(), "capstan-bundle-"));
  try {
    await makeBundle(work);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

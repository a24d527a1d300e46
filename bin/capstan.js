#!/usr/bin/env node
// Plain JavaScript on purpose: it must parse under any Node, to say what to install when Node is too old.
import { existsSync, mkdirSync, statSync } from "node:fs";
import module from "node:module";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";

const wanted = 24;
const major = Number(process.versions.node.split(".")[0]);
if (major < wanted) {
  process.stderr.write(
    `capstan needs Node ${wanted} or newer, and this is Node ${process.versions.node} (${process.execPath}).\n` +
      `Install it from https://nodejs.org, or, inside the repository, run: npm start --silent -- COMMAND\n`,
  );
  process.exit(3);
}
keepCompiled();
// In the repository the source itself runs (Node strips the types); the package ships only dist.
const source = new URL("../src/cli.ts", import.meta.url);
const entry = existsSync(fileURLToPath(source)) ? source : new URL("../dist/cli.js", import.meta.url);
await import(entry.href);

/**
 * Keeps compiled code in the home: reading and compiling is most of a start. What is kept is run without being looked at again, so
 * only in a home that has been used before, that nobody else can write and that is not found by where the process was started.
 */
function keepCompiled() {
  const { argv, env } = process;
  const option = argv.find((_, index) => argv[index - 1] === "--home");
  const home = option ?? env.CAPSTAN_HOME ?? join(homedir(), ".capstan");
  const cache = join(home, "cache");
  const folder = join(cache, "compiled");
  try {
    if (!isAbsolute(home) || !existsSync(join(home, "key.json"))) return;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if ([home, cache, folder].every(isOwn)) module.enableCompileCache(folder);
  } catch {
    // A home that can't be written keeps nothing, and the start takes longer.
  }
}

/** Windows has neither owners nor modes here. */
function isOwn(folder) {
  const { uid, mode } = statSync(folder);
  return process.getuid === undefined || (uid === process.getuid() && (mode & 0o022) === 0);
}

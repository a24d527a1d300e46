#!/usr/bin/env node
// Plain JavaScript on purpose: it must parse under any Node, to say what to install when Node is too old.
import { existsSync } from "node:fs";
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
// In the repository the source itself runs (Node strips the types); the package ships only dist.
const source = new URL("../src/cli.ts", import.meta.url);
const entry = existsSync(fileURLToPath(source)) ? source : new URL("../dist/cli.js", import.meta.url);
await import(entry.href);

import { serveStdio } from "../../../src/server/mcp/stdio.ts";
import { openTestDoor } from "../../support/door.ts";
import { changingSource } from "./changing.ts";

// A server program whose tools and resources change when a client calls `toggle` and `touch`.
const ending = new AbortController();
process.once("SIGTERM", () => ending.abort());
const { source, more } = changingSource();
await using opened = await openTestDoor(more, undefined, { sources: [source] });
const { door, permissions, store, grant } = opened;
await serveStdio({
  ...{ door, permissions, store, isExplicit: true, version: "0.0.0-test" },
  grant: { ...grant, rights: { ...grant.rights, resources: [{ type: "uri", under: "live://" }] } },
  input: process.stdin,
  output: process.stdout,
  log: (line) => void process.stderr.write(`${line}\n`),
  signal: ending.signal,
});

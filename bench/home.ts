import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { openApp } from "../src/app.ts";
import type { App } from "../src/app.ts";
import { Config } from "../src/config.ts";
import type { SandboxConfig } from "../src/sandbox/config.ts";
import { derive, defineTool, fromZod, narrow, newId } from "../src/index.ts";
import type { CallResult, Grant, Tool } from "../src/index.ts";
import { nothing } from "../src/permissions/narrow.ts";
import { toGrant } from "../src/run.ts";

/** A folder that goes away with the scope. */
export async function tempFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), "capstan-bench-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

const Echo = z.strictObject({ text: z.string().max(1000) });

/** The smallest tool that still has a schema for what goes in and what comes out. `once` is charged so that a power cut loses nothing. */
export function echoTool(name: string, effect: "read" | "once"): Tool {
  return defineTool({
    name,
    title: "Echo",
    description: "Answers what it is told.",
    input: fromZod(Echo),
    output: fromZod(Echo),
    hints: { readOnly: effect === "read", destructive: false, idempotent: effect === "read", openWorld: false },
    effect,
    needs: () => [],
    run: async ({ text }) => ({ type: "done", value: { text } }),
  });
}

/** An app in `home` with the echo tools `echo` and `echo_once`, and `more`, beside the built-in ones; a fault ends the bench. */
export async function openBenchApp(
  home: string,
  sandbox: Partial<SandboxConfig> = {},
  more: readonly Tool[] = [],
): Promise<App> {
  return await openApp({
    home,
    config: Config.parse({ sandbox }),
    tools: [echoTool("echo", "read"), echoTool("echo_once", "once"), ...more],
    onFault(fault) {
      throw fault;
    },
  });
}

/** A grant as `capstan grant create --allow … --calls …` makes it: its ancestor is charged with it. */
export function toBenchGrant(app: App, allow: readonly string[]): Grant {
  const now = app.permissions.now();
  const owner = toGrant(app, { allow });
  const request = narrow(owner, { ...nothing, allow, calls: 1_000_000_000 }, app.toolNames, now);
  return derive(owner, request, { id: newId("grant"), now });
}

/** Calls a tool at the door, as a client's own call. */
export async function callDoor(app: App, grant: Grant, name: string, args: object): Promise<CallResult> {
  const { principal, scope } = app;
  return await app.door.call({
    caller: { principal, scope, grant, taint: [], depth: 0 },
    name,
    args,
    callId: newId("call"),
    signal: new AbortController().signal,
  });
}

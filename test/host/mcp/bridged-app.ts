import { fileURLToPath } from "node:url";
import { type App, openApp } from "../../../src/app.ts";
import { Config } from "../../../src/config.ts";
import { newId } from "../../../src/core/id.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import type { Bridge } from "../../../src/host/mcp/bridge/bridge.ts";
import type { Grant } from "../../../src/permissions/grant.ts";
import type { CallRequest, Caller } from "../../../src/tools/call.ts";
import type { ReadingRequest } from "../../../src/tools/reading.ts";
import { toResult, type ToolResult } from "../../../src/tools/result.ts";
import type { Tool } from "../../../src/tools/tool.ts";
import { compiled } from "../../support/capstan.ts";
import { toGrant } from "../../support/door.ts";
import { tempFolder } from "../../support/temp.ts";

/** A server on stdio that is written with the SDK; it takes a folder and an era. */
export const program = fileURLToPath(new URL("bridged-sdk-server.ts", import.meta.url));

/** The config of a server on stdio that is written with the SDK; in `offer.json` of `folder` stands what it lists. */
export function withSdk(folder: string, more: object = {}, era = "modern"): object {
  return { command: process.execPath, args: [program, folder, era], env: compiled, bubblewrap: "never", ...more };
}

interface TestAppOptions {
  /** Missing: a new one. */
  readonly home?: string;
  readonly tools?: readonly Tool[];
}

/** A whole app over real servers, by their names in the config. Nothing is made ready. */
export async function openBridgedApp(servers: Readonly<Record<string, object>>, options: TestAppOptions = {}) {
  await using opened = new AsyncDisposableStack();
  const home = options.home ?? opened.use(await tempFolder()).path;
  const lines: string[] = [];
  const faults: unknown[] = [];
  const { PATH, HOME } = process.env;
  const app = opened.use(
    await openApp({
      ...{ home, tools: options.tools ?? [], env: { PATH, HOME } },
      config: Config.parse({ mcp: { servers } }),
      log: (line) => void lines.push(line),
      onFault: (fault) => void faults.push(fault),
    }),
  );
  const bridge = demandBridge(app);
  const owned = opened.move();
  const signal = (): AbortSignal => AbortSignal.timeout(110_000);

  /** A grant for all tools that there are now, and for all resources and prompts, unless told otherwise. */
  function grantAll(over: Partial<Grant["rights"]> = {}): Grant {
    const { permissions, principal, toolbox } = app;
    const { rights, ...grant } = toGrant(toolbox.tools, permissions.now(), permissions.epoch(principal));
    return { ...grant, rights: { ...rights, resources: [{ type: "any" }], prompts: ["*"], ...over } };
  }

  function toCaller(by: Partial<Caller> = {}): Caller {
    const { principal, scope } = app;
    return { principal, scope, grant: grantAll(), taint: [], depth: 0, ...by };
  }

  return {
    ...{ app, bridge, home, lines, faults, grantAll, toCaller },
    ready: async (known?: "start" | "list"): Promise<void> => await bridge.ready(signal(), known),
    names: (): readonly string[] =>
      app.toolbox.tools.filter(({ source }) => source.startsWith("mcp:")).map(({ name }) => name),
    /** A reading or listing by the operator, who may do everything. */
    reading: (by: Partial<Caller> = {}): ReadingRequest => ({
      caller: toCaller(by),
      callId: newId("call"),
      signal: signal(),
    }),
    /** Calls as the operator, who may call all tools that there are now unless told otherwise; a waiting outcome is an error. */
    async call(name: string, args: JsonObject = {}, more: Partial<CallRequest> = {}): Promise<ToolResult> {
      const request = { caller: toCaller(), name, args, callId: newId("call"), signal: signal(), ...more };
      return toResult((await app.door.call(request)).outcome);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function demandBridge({ bridge }: App): Bridge {
  if (bridge === undefined) throw new Error("The config names no server.");
  return bridge;
}

/** The text of a result's first block. */
export function textOf({ content: [block] }: ToolResult): string {
  return block?.type === "text" ? block.text : JSON.stringify(block);
}

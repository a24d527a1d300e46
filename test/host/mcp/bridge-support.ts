import { PassThrough } from "node:stream";
import { fileURLToPath } from "node:url";
import { openApp } from "../../../src/app.ts";
import { Config } from "../../../src/config.ts";
import { type Clock, systemClock } from "../../../src/core/clock.ts";
import type { Grant } from "../../../src/permissions/grant.ts";
import { serveHttp } from "../../../src/server/mcp/http/http.ts";
import { serveStdio } from "../../../src/server/mcp/stdio.ts";
import { compiled } from "../../support/capstan.ts";
import { toGrant } from "../../support/door.ts";
import { tempFolder } from "../../support/temp.ts";
import { type Answering, type Front, openV1, openV2, type Reached } from "./bridge-fronts.ts";

/** The programs of the servers, by their eras; with an argument they serve at that port. */
export const programs = {
  old: fileURLToPath(new URL("bridge-old-server.ts", import.meta.url)),
  new: fileURLToPath(new URL("bridge-new-server.ts", import.meta.url)),
};

/** The config of a server of an era, written with an official SDK. */
export function official(era: keyof typeof programs, more: object = {}): object {
  return { command: process.execPath, args: [programs[era]], env: compiled, bubblewrap: "never", ...more };
}

/** Capstan in this process, as the config makes it, with real servers behind and clients in front. */
export async function openBridged(
  servers: Readonly<Record<string, object>>,
  { home, clock = systemClock }: { readonly home?: string; readonly clock?: Clock } = {},
) {
  await using opened = new AsyncDisposableStack();
  const folder = opened.use(await tempFolder());
  const lines: string[] = [];
  const { PATH, HOME } = process.env;
  const app = await openApp({
    ...{ home: home ?? folder.path, clock, config: Config.parse({ mcp: { servers } }), env: { PATH, HOME } },
    log: (line) => void lines.push(line),
  });
  opened.use(app);
  const { bridge, door, permissions, store, toolbox } = app;
  if (bridge === undefined) throw new Error("There is no bridge.");
  await bridge.ready(AbortSignal.timeout(110_000), "start");
  const ending = new AbortController();
  const serving: Promise<unknown>[] = [];
  opened.defer(async () => {
    ending.abort();
    await Promise.all(serving);
  });

  /** Everything that is there now, for the operator; what came from servers holds no tool back. */
  function everything(over: Partial<Grant> = {}): Grant {
    const grant = toGrant(toolbox.tools, permissions.now(), permissions.epoch(over.principal ?? app.principal), over);
    const tools = grant.rights.tools.map((right) => ({ ...right, tainted: true }));
    return { ...grant, rights: { ...grant.rights, tools, resources: [{ type: "any" }], prompts: ["*"] } };
  }

  const services = { door, permissions, store, version: "0.0.0-test", signal: ending.signal };

  function overPipes(grant: Grant): Reached {
    const toServer = new PassThrough();
    const fromServer = new PassThrough();
    const log = (line: string): void => void lines.push(line);
    const pipes = { input: toServer, output: fromServer };
    serving.push(serveStdio({ ...services, ...pipes, grant, isExplicit: true, log }));
    return { type: "pipes", toServer, fromServer };
  }

  let http: ReturnType<typeof serveHttp> | undefined;
  async function overHttp(grant: Grant, type: "http" | "sse"): Promise<Reached> {
    http ??= serveHttp({
      ...{ ...services, grant: everything(), isExplicit: false, host: "127.0.0.1", port: 0, hosts: [], origins: [] },
      onFault: (fault) => void lines.push(String(fault)),
    });
    const { url, closed } = await http;
    serving.push(closed);
    return { type, url, token: permissions.mint(grant) };
  }

  const owned = opened.move();
  return {
    ...{ app, home: folder.path, lines, everything },
    /** Opens a client in front; under a grant for everything unless told otherwise. */
    async front(kind: FrontKind, answering: Answering = {}, grant = everything()): Promise<Front> {
      const { sdk, over } = fronts[kind];
      const to = over === "pipes" ? overPipes(grant) : await overHttp(grant, over);
      return sdk === "v1" ? await openV1(to, answering) : await openV2(to, sdk, answering);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export type Bridged = Awaited<ReturnType<typeof openBridged>>;

/** The clients in front, by how they reach Capstan. */
const fronts = {
  "2025, v1, stdio": { sdk: "v1", over: "pipes" },
  "2025, v2, stdio": { sdk: "legacy", over: "pipes" },
  "2026, v2, stdio": { sdk: "auto", over: "pipes" },
  "2025, v1, HTTP": { sdk: "v1", over: "http" },
  "2025, v1, HTTP+SSE": { sdk: "v1", over: "sse" },
  "2025, v2, HTTP": { sdk: "legacy", over: "http" },
  "2026, v2, HTTP": { sdk: "auto", over: "http" },
} as const;
export type FrontKind = keyof typeof fronts;

export const frontKinds: readonly FrontKind[] = [
  "2025, v1, stdio",
  "2025, v2, stdio",
  "2026, v2, stdio",
  "2025, v1, HTTP",
  "2025, v1, HTTP+SSE",
  "2025, v2, HTTP",
  "2026, v2, HTTP",
];

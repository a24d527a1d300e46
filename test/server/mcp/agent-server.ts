import { PassThrough, type Readable, type Writable } from "node:stream";
import type { Clock } from "../../../src/core/clock.ts";
import type { Grant } from "../../../src/permissions/grant.ts";
import { serveStdio } from "../../../src/server/mcp/stdio.ts";
import type { Tool } from "../../../src/tools/tool.ts";
import { type Models, openAgent } from "../../host/agent.ts";
import { openPeer } from "./peer.ts";

interface Options {
  readonly home?: string;
  readonly clock?: Clock;
}

/** A real host with `run_agent` and the given tools, served over streams. */
export async function openAgentServer(tools: readonly Tool[], models: Models, options: Options = {}) {
  const at = await openAgent(tools, models, options);
  const ending = new AbortController();
  const served = new Set<Promise<void>>();

  /** Serves one client, as a process of its own would. */
  function serve(input: Readable, output: Writable, grant: Grant = at.grant): Promise<void> {
    const ended = serveStdio({
      ...{ door: at.door, permissions: at.permissions, store: at.store, grant, isExplicit: false, input, output },
      version: "0.0.0-test",
      log: () => {},
      signal: ending.signal,
    });
    served.add(ended);
    return ended;
  }

  return {
    ...at,
    serve,
    connect(grant: Grant = at.grant) {
      const [input, output] = [new PassThrough(), new PassThrough()];
      const ended = serve(input, output, grant);
      return { ...openPeer(input, output), ended, hangUp: () => input.end() };
    },
    async [Symbol.asyncDispose]() {
      ending.abort();
      await Promise.all(served);
      await at[Symbol.asyncDispose]();
    },
  };
}

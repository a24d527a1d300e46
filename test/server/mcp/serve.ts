import { PassThrough } from "node:stream";
import { type Clock, systemClock } from "../../../src/core/clock.ts";
import type { Grant, Rights } from "../../../src/permissions/grant.ts";
import type { Offering } from "../../../src/server/mcp/offering.ts";
import type { StdioServices } from "../../../src/server/mcp/stdio.ts";
import { serveStdio } from "../../../src/server/mcp/stdio.ts";
import type { Door } from "../../../src/tools/call.ts";
import type { ResourceSource } from "../../../src/tools/resource.ts";
import type { Tool } from "../../../src/tools/tool.ts";
import type { Source } from "../../../src/tools/toolbox.ts";
import { openTestDoor } from "../../support/door.ts";
import { type Peer, openPeer } from "./peer.ts";
import { testPrompts, testResources } from "./things.ts";
import { mcpTools } from "./tools.ts";

/** What a server has beside the tools and things of the tests. */
export interface TestServerParts {
  readonly more?: readonly Tool[];
  readonly resources?: readonly ResourceSource[];
  readonly sources?: readonly Source[];
  readonly offering?: Offering;
  readonly clock?: Clock;
  readonly logger?: StdioServices["logger"];
}

/**
 * A server in this process over a real door, real permissions and a store of its own. Each `connect` is one connection with a raw peer
 * at its other end; disposing ends them all and waits for them.
 */
export async function openTestServer({
  more = [],
  resources = [],
  sources = [],
  offering,
  clock = systemClock,
  logger,
}: TestServerParts = {}) {
  const log: string[] = [];
  const logged: string[] = [];
  const tools = [...mcpTools(log), ...more];
  const things = { resources: [testResources, ...resources], prompts: [testPrompts], sources };
  const opened = await openTestDoor(tools, clock, things);
  const { permissions, store, grant } = opened;
  let listening = 0;
  const door: Door = {
    ...opened.door,
    onChange(listener) {
      const own = opened.door.onChange(listener);
      listening += 1;
      return {
        [Symbol.dispose]() {
          listening -= 1;
          own[Symbol.dispose]();
        },
      };
    },
  };
  const ending = new AbortController();
  const connections: Promise<void>[] = [];

  function connect(own: Grant = grant, isExplicit = false): Peer & { readonly ended: Promise<void>; hangUp(): void } {
    const input = new PassThrough();
    const output = new PassThrough();
    const ended = serveStdio({
      door,
      permissions,
      store,
      grant: own,
      isExplicit,
      version: "0.0.0-test",
      offering,
      input,
      output,
      log: (line) => logged.push(line),
      logger,
      signal: ending.signal,
    });
    connections.push(ended);
    return { ...openPeer(input, output), ended, hangUp: () => input.end() };
  }

  return {
    ...opened,
    door,
    /** How many listen to the toolbox now. */
    listening: () => listening,
    log,
    logged,
    connect,
    /** The grant with other rights, under an id of its own. */
    withRights(id: string, rights: Partial<Rights>): Grant {
      return { ...grant, id, rights: { ...grant.rights, ...rights } };
    },
    /** The right to each of these tools, with any arguments. */
    rightsTo: (names: readonly string[], over: { ask?: boolean; tainted?: boolean } = {}): Rights["tools"] =>
      grant.rights.tools.filter(({ name }) => names.includes(name)).map((right) => ({ ...right, ...over })),
    async [Symbol.asyncDispose]() {
      ending.abort();
      await Promise.all(connections);
      await opened[Symbol.asyncDispose]();
    },
  };
}

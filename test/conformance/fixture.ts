import { type Grant, type Rights } from "../../src/permissions/grant.ts";
import { serveHttp } from "../../src/server/mcp/http/http.ts";
import type { Source, ToolboxChange } from "../../src/tools/toolbox.ts";
import { openTestDoor, testTool } from "../support/door.ts";
import { conformancePrompts, conformanceResources, promptNames } from "./fixture-things.ts";
import { conformanceTools } from "./fixture-tools.ts";

/** Comes and goes. */
const passing = testTool("test_passing_tool");

/**
 * Serves what the conformance suite asks for: its tools, resources and prompts in a toolbox, behind the real door, over HTTP in both
 * eras. `hosts` and `origins` are those under which a proxy is reached.
 */
export async function openFixture(reached: { readonly hosts: readonly string[]; readonly origins: readonly string[] }) {
  await using opened = new AsyncDisposableStack();
  const changing = toChanging();
  const tools = conformanceTools({ tools: () => changing.toggle("tools"), prompts: () => changing.toggle("prompts") });
  const things = { resources: [conformanceResources], sources: [changing] };
  const { door, permissions, store, grant, faults } = opened.use(await openTestDoor(tools, undefined, things));
  const ending = new AbortController();
  const { url, closed } = await serveHttp({
    ...{ door, permissions, store, grant, isExplicit: false, version: "0.0.0-test", host: "127.0.0.1", port: 0 },
    ...reached,
    onFault: (fault) => faults.push(fault),
    signal: ending.signal,
  });
  opened.defer(async () => {
    ending.abort();
    await closed;
  });
  const owned = opened.move();
  return {
    url,
    token: permissions.mint(withAll(grant)),
    faults,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function withAll(grant: Grant): Grant {
  const tools: Rights["tools"] = [
    ...grant.rights.tools,
    { name: passing.name, pin: passing.pin, ask: false, tainted: false },
  ];
  return { ...grant, rights: { ...grant.rights, tools, resources: [{ type: "any" }], prompts: promptNames } };
}

/** A tool and a prompt that are there or not. */
function toChanging(): Source & { toggle(what: ToolboxChange): void } {
  const listeners = new Set<(change: ToolboxChange) => void>();
  const there = new Set<ToolboxChange>();
  return {
    tools: () => (there.has("tools") ? [passing] : []),
    resources: [],
    prompts: [conformancePrompts(() => there.has("prompts"))],
    onChange(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    toggle(what) {
      if (!there.delete(what)) there.add(what);
      for (const listener of listeners) listener(what);
    },
  };
}

import { join } from "node:path";
import { z } from "zod";
import { systemClock } from "../../src/core/clock.ts";
import type { Clock } from "../../src/core/clock.ts";
import { newId } from "../../src/core/id.ts";
import { localPrincipal, localScope } from "../../src/core/scope.ts";
import type { Grant, GrantRequest } from "../../src/permissions/grant.ts";
import { openPermissions } from "../../src/permissions/open-permissions.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import type { AuditRow } from "../../src/store/store.ts";
import type { CallRequest, Caller } from "../../src/tools/call.ts";
import { openDoor } from "../../src/tools/call.ts";
import { fromZod } from "../../src/tools/schema.ts";
import type { Outcome, Tool, ToolDefinition } from "../../src/tools/tool.ts";
import { defineTool } from "../../src/tools/tool.ts";
import type { ToolboxParts } from "../../src/tools/toolbox.ts";
import { toToolbox } from "../../src/tools/toolbox.ts";
import { tempFolder } from "./temp.ts";

const harmless = { readOnly: true, destructive: false, idempotent: true, openWorld: false };

/** A test tool: harmless, takes `{ text }`, and answers what `run` does; everything can be overridden. */
export function testTool(name: string, over: Partial<ToolDefinition<{ text: string }, unknown>> = {}): Tool {
  return defineTool<{ text: string }, unknown>({
    name,
    title: name,
    description: name,
    input: fromZod(z.strictObject({ text: z.string().max(1000).default("") })),
    hints: harmless,
    effect: "read",
    needs: () => [],
    run: async ({ text }) => ({ type: "done", value: { text } }),
    ...over,
  });
}

/** A real door over a real store and real permissions in a folder of its own, with a grant for all of the given tools. */
export async function openTestDoor(
  tools: readonly Tool[],
  clock: Clock = systemClock,
  things: Pick<ToolboxParts, "resources" | "prompts" | "sources"> = {},
) {
  await using opened = new AsyncDisposableStack();
  const folder = opened.use(await tempFolder());
  const store = opened.use(await openSqliteStore({ path: join(folder.path, "state.db"), clock }));
  const permissions = opened.use(
    await openPermissions({ home: folder.path, store, clock, scope: localScope, fourEyes: false }),
  );
  const faults: unknown[] = [];
  const door = openDoor({
    toolbox: toToolbox({ tools, ...things }),
    store,
    permissions,
    onFault: (fault) => faults.push(fault),
  });
  const owned = opened.move();
  const grant = toGrant(tools, permissions.now(), permissions.epoch(localPrincipal));

  return {
    home: folder.path,
    store,
    permissions,
    door,
    faults,
    grant,
    /** Calls as the operator under `grant` unless told otherwise. */
    call: (name: string, args: unknown = {}, over: Partial<CallRequest> & { by?: Partial<Caller> } = {}) => {
      const { by, ...request } = over;
      const caller = { principal: localPrincipal, scope: localScope, grant, taint: [], depth: 0, ...by };
      return door.call({ caller, name, args, callId: newId("call"), signal: AbortSignal.timeout(110_000), ...request });
    },
    audit: async (): Promise<readonly AuditRow[]> => await Array.fromAsync(store.audit()),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A grant for the tools, any arguments, no folders, no limits, unless told otherwise. */
export function toGrant(tools: readonly Tool[], now: number, epoch: number, over: Partial<Grant> = {}): Grant {
  return {
    id: newId("grant"),
    ancestors: [],
    principal: localPrincipal,
    scope: localScope,
    issuedAt: now,
    notBefore: now,
    expiresAt: now + 3_600_000,
    epoch,
    delegations: 8,
    rights: {
      tools: tools.map(({ name, pin }) => ({ name, pin, ask: false, tainted: false })),
      resources: [],
      prompts: [],
      read: [],
      write: [],
      net: [],
      runs: ["create", "read", "resume", "cancel"],
      sessions: [],
      approve: tools.map(({ name }) => name),
      isolation: "wasm-in-thread",
    },
    limits: {},
    ...over,
  };
}

/** The request of a child that holds what its parent holds, for tests that change one part of it. */
export function sameAs(parent: Grant): GrantRequest {
  const { rights, limits, expiresAt, delegations, run } = parent;
  return { rights, limits, expiresAt, delegations: delegations - 1, ...(run === undefined ? {} : { run }) };
}

/** The value of an outcome that is done, whatever it is. */
export function valueOf(outcome: Outcome): unknown {
  return outcome.type === "done" ? outcome.value : undefined;
}

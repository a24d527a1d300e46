import { newId } from "../../src/core/id.ts";
import { localPrincipal, localScope } from "../../src/core/scope.ts";
import { trusted } from "../../src/core/taint.ts";
import type { Grant } from "../../src/permissions/grant.ts";
import type { CallContext, Outcome, Tool } from "../../src/tools/tool.ts";

/** A grant with no rights and no limits: for tools that need nothing beyond the door, which is not in the way here. */
const emptyGrant: Grant = {
  id: "grant-of-a-test",
  ancestors: [],
  principal: localPrincipal,
  scope: localScope,
  issuedAt: 0,
  notBefore: 0,
  expiresAt: Number.MAX_SAFE_INTEGER,
  epoch: 0,
  delegations: 0,
  rights: {
    tools: [],
    resources: [],
    prompts: [],
    read: [],
    write: [],
    net: [],
    runs: [],
    sessions: [],
    approve: [],
    isolation: "wasm-in-thread",
  },
  limits: {},
};

/** What a tool gets from the door, for a test of the tool alone: a new call by the operator, who has seen nothing untrusted. */
function toCallContext(given: Partial<CallContext> = {}): CallContext {
  return {
    signal: new AbortController().signal,
    callId: newId("call"),
    scope: localScope,
    principal: localPrincipal,
    grant: emptyGrant,
    reserved: { calls: 1 },
    taint: trusted,
    depth: 0,
    progress: () => {},
    log: () => {},
    demand: () => Promise.resolve(),
    record: () => Promise.resolve(),
    call: () => Promise.reject(new Error("This test gives the tool no way back to the door.")),
    ...given,
  };
}

/** Parses the arguments and runs the tool; gives its end, which must not be a question. */
export async function callTool(
  tool: Tool,
  args: unknown,
  given?: Partial<CallContext>,
): Promise<Extract<Outcome, { type: "done" }>> {
  const outcome = await tool.bind(args).run(toCallContext(given));
  if (outcome.type === "done") return outcome;
  throw new Error("The tool asks instead of answering.");
}

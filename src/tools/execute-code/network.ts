import { CapstanError } from "../../core/error.ts";
import type { ExecRequest, ExecResult } from "../../sandbox/engine.ts";
import { type Resolve, toAllowConnect } from "../egress.ts";
import type { CallContext } from "../tool.ts";
import type { CodeCalls } from "./nested.ts";

/** Connections that are named in an error. */
const maxFailures = 5;

/** What comes in by the network is nobody's word. */
const label = "network";

/** The way of one call's code to the hosts that its grant names. Disposing resolves when every connection is on record. */
interface CodeNetwork extends AsyncDisposable {
  readonly way: Required<Pick<ExecRequest, "allowConnect" | "onConnect">>;
  /** The result, whose error also says which connections did not come about: programs tell little of that, and Node's fetch nothing. */
  explain(result: ExecResult): ExecResult;
}

/**
 * Opens the way to the network for the code of one call. Each connection is decided at the door and put on record; like any other call
 * that sends out, none is made after untrusted content came into the code, unless the right to the tool says `tainted`.
 */
export function openCodeNetwork(
  context: Pick<CallContext, "grant" | "demand" | "record" | "signal" | "taint">,
  around: {
    /** Whose right it is. */
    readonly tool: string;
    /** What the code has seen so far; asked while it runs. */
    readonly seen: () => Pick<CodeCalls, "taint" | "bring">;
    readonly resolve?: Resolve | undefined;
  },
): CodeNetwork {
  const { tool, seen, resolve } = around;
  const allow = toAllowConnect(context, resolve);
  const isTainted = context.grant.rights.tools.some(({ name, tainted }) => name === tool && tainted);
  const records: Promise<void>[] = [];
  const failures = new Set<string>();
  return {
    way: {
      async allowConnect(target) {
        const { taint, bring } = seen();
        // For what the caller had seen, the door has asked already.
        const since = taint().filter((from) => from !== label && !context.taint.includes(from));
        if (!isTainted && since.length > 0) throw afterUntrusted(since);
        const addresses = await allow(target);
        bring([label]);
        return addresses;
      },
      onConnect({ to, outcome, code }) {
        if (code !== undefined && failures.size < maxFailures) failures.add(`${to} ${code}`);
        const refused = outcome === "refused" && code !== undefined ? { refused: code } : {};
        records.push(context.record({ action: "net/connect", name: to, ...refused }));
      },
    },
    explain(result) {
      if (result.error === undefined || failures.size === 0) return result;
      return { ...result, error: `${result.error}\nNot connected: ${[...failures].join(", ")}` };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(records);
    },
  };
}

function afterUntrusted(labels: readonly string[]): CapstanError {
  return new CapstanError(
    "permission.approval_needed",
    `The code has read untrusted content (${labels.join(", ")}), and connecting after that needs a person, whom code can't ask. ` +
      "Fetch first and read later, in two calls; a session that has read it connects no more.",
  );
}

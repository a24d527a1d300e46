import { toCapstanError } from "../../core/error.ts";
import type { Caller, Door } from "../../tools/call.ts";
import { activeSpan } from "./carry.ts";
import type { Logger } from "./logger.ts";

/** What is known of an act at the door before it begins. */
interface Act {
  readonly name: "tool_execution" | "resource_read" | "prompt_get";
  readonly request: { readonly caller: Caller; readonly callId: string };
  readonly tool?: string;
}

/** Where an act led: an end, good or bad, or questions. */
interface Ended {
  readonly outcome: { readonly type?: string; readonly isError?: boolean; readonly code?: string };
}

/**
 * The door for whoever has no log of events, such as an MCP client: each call and reading leaves a record with its grant, its outcome and
 * its time. Calls inside a call belong to it and leave none. Without a logger it is the door itself.
 */
export function withCallLog(door: Door, logger: Logger | undefined, now: () => number): Door {
  if (logger === undefined) return door;

  async function logged<T extends Ended>({ name, tool, request }: Act, act: () => Promise<T>): Promise<T> {
    const { caller, callId } = request;
    const startedAt = now();
    const span = await activeSpan();
    const about = { name, tool, grantId: caller.grant.id, callId, trace_id: span?.traceId, span_id: span?.spanId };
    const write = (level: "info" | "warn" | "error", status: string, code: string | undefined): void => {
      const at = now();
      logger?.write(level, { ...about, at, status, code, ms: at - startedAt });
    };
    try {
      const result = await act();
      const { type, isError, code } = result.outcome;
      if (type === "waiting") write("info", "waiting", undefined);
      else write(isError === true ? "warn" : "info", isError === true ? "failed" : "done", code);
      return result;
    } catch (thrown) {
      const { code } = toCapstanError(thrown);
      if (code === "permission.approval_needed") write("info", "waiting", code);
      else if (code === "tool.cancelled") write("info", "cancelled", code);
      else write(code === "core.internal" ? "error" : "warn", "refused", code);
      throw thrown;
    }
  }

  return {
    ...door,
    call(request) {
      // By whatever words a client calls: a name is one that its grant lists.
      const tool = door.find(request.caller.grant, request.name)?.name ?? "unknown";
      return logged({ name: "tool_execution", tool, request }, () => door.call(request));
    },
    readResource: (request) => logged({ name: "resource_read", request }, () => door.readResource(request)),
    getPrompt: (request) => logged({ name: "prompt_get", request }, () => door.getPrompt(request)),
  };
}

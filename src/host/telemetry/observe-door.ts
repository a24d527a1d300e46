import { toCapstanError } from "../../core/error.ts";
import type { Caller, Door } from "../../tools/call.ts";
import { activeSpan, isObserved } from "./carry.ts";
import { attributes as names, semconvUrl } from "./conventions.ts";
import type { Logger } from "./logger.ts";

/** What is known of an act at the door before it begins. */
interface Act {
  readonly name: "tool_execution" | "resource_read" | "prompt_get";
  readonly request: { readonly caller: Caller; readonly callId: string };
  readonly tool?: string;
}

/** Where an act leads: to an end, good or bad, or to questions. */
interface Ended {
  readonly outcome: { readonly type?: string; readonly isError?: boolean; readonly code?: string };
}

/** How an act ended. Only what failed or was refused has a code that is an error. */
interface End {
  readonly status: "done" | "failed" | "refused" | "waiting" | "cancelled";
  readonly code?: string | undefined;
}

/**
 * The door for whoever has no log of events, such as an MCP client: each call and reading leaves a record with its grant, its outcome and
 * its time, and each call a span, where an SDK of OpenTelemetry is registered. What happens inside a call belongs to it. Where neither is
 * wanted it is the door itself.
 */
export function observeDoor(door: Door, logger: Logger | undefined, now: () => number): Door {
  if (logger === undefined && !isObserved()) return door;

  async function logged<T extends Ended>({ name, tool, request }: Act, act: () => Promise<T>): Promise<T> {
    const { caller, callId } = request;
    const startedAt = now();
    const ids = await activeSpan();
    const write = ({ status, code }: End): void => {
      const about = { name, at: now(), tool, grantId: caller.grant.id, callId, status, code };
      const ms = about.at - startedAt;
      logger?.write(toLevel({ status, code }), { ...about, ms, trace_id: ids?.traceId, span_id: ids?.spanId });
    };
    return await ending(act, write);
  }

  return {
    ...door,
    call(request) {
      const { caller, callId } = request;
      // By whatever words a client calls: a name is one that its grant lists.
      const tool = door.find(caller.grant, request.name)?.name ?? "unknown";
      const call = () => logged({ name: "tool_execution", tool, request }, () => door.call(request));
      return inCallSpan({ tool, callId, grantId: caller.grant.id }, call);
    },
    readResource: (request) => logged({ name: "resource_read", request }, () => door.readResource(request)),
    getPrompt: (request) => logged({ name: "prompt_get", request }, () => door.getPrompt(request)),
  };
}

/** Acts within a span of its own, as `execute_tool` of the conventions. */
async function inCallSpan<T extends Ended>(
  { tool, callId, grantId }: { readonly tool: string; readonly callId: string; readonly grantId: string },
  act: () => Promise<T>,
): Promise<T> {
  if (!isObserved()) return await act();
  const { SpanKind, SpanStatusCode, trace } = await import("@opentelemetry/api");
  const tracer = trace.getTracerProvider().getTracer("capstan", undefined, { schemaUrl: semconvUrl });
  const attributes = {
    [names.operation]: "execute_tool",
    [names.toolName]: tool,
    [names.toolCallId]: callId,
    [names.toolType]: "function",
    "capstan.grant.id": grantId,
  };
  return await tracer.startActiveSpan(`execute_tool ${tool}`, { kind: SpanKind.SERVER, attributes }, async (span) => {
    span.addEvent("tool_execution", { [names.toolName]: tool });
    return await ending(act, ({ status, code }) => {
      span.setAttribute("capstan.tool.outcome", status);
      if (status === "failed" || status === "refused") {
        const error = code ?? "tool_error";
        span.setAttribute(names.errorType, error).setStatus({ code: SpanStatusCode.ERROR, message: error });
      }
      span.end();
    });
  });
}

/** Acts, and tells how that ended. */
async function ending<T extends Ended>(act: () => Promise<T>, onEnd: (end: End) => void): Promise<T> {
  let result: T;
  try {
    result = await act();
  } catch (thrown) {
    const { code } = toCapstanError(thrown);
    if (code === "permission.approval_needed") onEnd({ status: "waiting", code });
    else onEnd({ status: code === "tool.cancelled" ? "cancelled" : "refused", code });
    throw thrown;
  }
  const { type, isError, code } = result.outcome;
  if (type === "waiting") onEnd({ status: "waiting" });
  else onEnd({ status: isError === true ? "failed" : "done", code });
  return result;
}

function toLevel({ status, code }: End): "info" | "warn" | "error" {
  if (status !== "failed" && status !== "refused") return "info";
  return code === "core.internal" ? "error" : "warn";
}

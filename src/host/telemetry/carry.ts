import type { JsonObject } from "../../core/json.ts";
import { isJsonObject } from "../../core/json.ts";

/** What a request carries of a trace in `_meta` (MCP 2026-07-28, SEP-414). Baggage stays here: it may hold anything, for anybody. */
const carried = ["traceparent", "tracestate"] as const;

/**
 * Whether somebody has registered an SDK with version 1 of the OpenTelemetry API, which keeps it under this symbol. The API itself takes
 * 17 ms to load, so it is loaded only where this is so.
 */
export function isObserved(): boolean {
  return Symbol.for("opentelemetry.js.api.1") in globalThis;
}

/** What ties a line of a log to a span. */
export interface SpanIds {
  readonly traceId: string;
  readonly spanId: string;
}

/** The span that is active here; undefined where there is none, or nobody listens. */
export async function activeSpan(): Promise<SpanIds | undefined> {
  if (!isObserved()) return undefined;
  const { context, trace } = await import("@opentelemetry/api");
  return trace.getSpanContext(context.active());
}

/** Acts within the trace that a request's `_meta` names, if it names one and somebody listens. */
export async function inTraceOf<T>(
  meta: Readonly<Record<string, unknown>> | undefined,
  act: () => Promise<T>,
): Promise<T> {
  if (meta?.["traceparent"] === undefined || !isObserved()) return await act();
  const { context, propagation } = await import("@opentelemetry/api");
  const texts = carried.flatMap((name) => {
    const text = meta[name];
    return typeof text === "string" ? [[name, text] as const] : [];
  });
  return await context.with(propagation.extract(context.active(), Object.fromEntries(texts)), act);
}

/** The params of a request with the present trace in their `_meta`; unchanged where there is none. Worth its while where `isObserved`. */
export async function withTrace(params: JsonObject): Promise<JsonObject> {
  const { context, propagation } = await import("@opentelemetry/api");
  const all: Record<string, string> = {};
  propagation.inject(context.active(), all);
  const texts = Object.fromEntries(Object.entries(all).filter(([name]) => carried.some((one) => one === name)));
  if (Object.keys(texts).length === 0) return params;
  const given = isJsonObject(params["_meta"]) ? params["_meta"] : {};
  return { ...params, _meta: { ...given, ...texts } };
}

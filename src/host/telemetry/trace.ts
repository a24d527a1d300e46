import type * as OpenTelemetry from "@opentelemetry/api";
import type { Context, Histogram, Span, SpanContext } from "@opentelemetry/api";
import type { Event } from "../../core/event.ts";
import type { RunSignal } from "../world.ts";
import type { SpanIds } from "./carry.ts";
import { isObserved } from "./carry.ts";
import { metricNames, semconvUrl } from "./conventions.ts";
import type { Logger } from "./logger.ts";
import { openRunLogger } from "./run-logger.ts";
import type { TraceState, TraceStep } from "./steps.ts";
import { runSpan, traceEvent } from "./steps.ts";

/** How a run is observed. */
export interface TraceConfig {
  /** Whether spans hold what people, models and tools said. */
  readonly content: boolean;
}

/** The same, with what writes the log of the process; missing: it is off. */
export interface Observing extends TraceConfig {
  readonly logger?: Logger | undefined;
}

/** The trace of one run while it is driven. Disposing ends what is open. */
export interface RunTrace extends Disposable {
  readonly onSignal: (signal: RunSignal) => void;
  /** Acts within the span of a call, so that what it starts belongs to it. */
  readonly within: <T>(callId: string, act: () => Promise<T>) => Promise<T>;
}

/**
 * Opens the trace of a run, whose log has `before` so far: its spans, where an SDK of OpenTelemetry is registered, and its records in the
 * log of the process. Where neither is wanted it does nothing but pass on the signals.
 */
export async function openRunTrace(
  onSignal: ((signal: RunSignal) => void) | undefined,
  config: Observing,
  before: () => AsyncIterable<Event> = none,
): Promise<RunTrace> {
  const pass = onSignal ?? (() => {});
  const { logger } = config;
  const api = isObserved() ? await import("@opentelemetry/api") : undefined;
  if (api === undefined && logger === undefined) {
    return { onSignal: pass, within: (_, act) => act(), [Symbol.dispose]: () => {} };
  }
  let state: TraceState | null = null;
  for await (const event of before()) ({ state } = traceEvent(state, event, config));
  const spans = api === undefined ? undefined : openSpans(api);
  const records = logger === undefined ? undefined : openRunLogger(logger);
  return {
    onSignal(signal) {
      if (signal.type === "event") {
        const traced = traceEvent(state, signal.event, config);
        ({ state } = traced);
        for (const step of traced.steps) {
          const ids = spans?.perform(step); // Whether anybody logs or not.
          records?.write(step, ids);
        }
      }
      pass(signal);
    },
    within: (callId, act) => spans?.within(callId, act) ?? act(),
    [Symbol.dispose]() {
      spans?.end();
      records?.[Symbol.dispose]();
    },
  };
}

/** Gives the spans of a stored run to the SDK that is registered, below the span that is active now. Without one it does nothing. */
export async function traceLog(events: AsyncIterable<Event> | Iterable<Event>, config: TraceConfig): Promise<void> {
  if (!isObserved()) return;
  using spans = openSpans(await import("@opentelemetry/api"));
  let state: TraceState | null = null;
  for await (const event of events) {
    const traced: ReturnType<typeof traceEvent> = traceEvent(state, event, config);
    ({ state } = traced);
    for (const step of traced.steps) spans.perform(step);
  }
}

async function* none(): AsyncGenerator<Event> {}

/** The spans of one run, by their names in it. */
function openSpans({ INVALID_SPAN_CONTEXT, SpanKind, SpanStatusCode, context, metrics, trace }: typeof OpenTelemetry) {
  const tracer = trace.getTracerProvider().getTracer("capstan", undefined, { schemaUrl: semconvUrl });
  const meter = metrics.getMeter("capstan");
  const toHistogram = ({ name, unit, bounds }: (typeof metricNames)["tokens" | "duration"]): Histogram =>
    meter.createHistogram(name, { unit, advice: { explicitBucketBoundaries: [...bounds] } });
  const histograms = { tokens: toHistogram(metricNames.tokens), duration: toHistogram(metricNames.duration) };
  const around = context.active();
  const open = new Map<string, Span>();

  const contextOf = (name: string): Context => {
    const span = open.get(name) ?? open.get(runSpan);
    return span === undefined ? around : trace.setSpan(around, span);
  };

  /**
   * The context of what a call does. Its span begins when its intention is on record, which the door sees to, so who the parent of a span
   * in it is shows when that span begins.
   */
  function contextIn(callId: string): Context {
    let known: SpanContext | undefined;
    const parent = (): SpanContext => {
      known ??= open.get(callId)?.spanContext();
      return known ?? open.get(runSpan)?.spanContext() ?? INVALID_SPAN_CONTEXT;
    };
    return trace.setSpanContext(around, {
      get traceId() {
        return parent().traceId;
      },
      get spanId() {
        return parent().spanId;
      },
      get traceFlags() {
        return parent().traceFlags;
      },
    });
  }

  /** Gives the span that the step is about, if it is open. */
  function perform(step: TraceStep): SpanIds | undefined {
    const { span: name, attributes } = step;
    const span = open.get(name);
    switch (step.type) {
      case "start": {
        const kind = step.kind === "client" ? SpanKind.CLIENT : SpanKind.INTERNAL;
        const parent = name === runSpan ? around : contextOf(runSpan);
        const started = tracer.startSpan(step.name, { kind, startTime: toTime(step.at), attributes }, parent);
        open.set(name, started);
        return started.spanContext();
      }
      case "event":
        span?.addEvent(step.name, attributes, toTime(step.at));
        break;
      case "measure":
        histograms[step.metric].record(step.value, attributes, contextOf(name));
        break;
      case "end":
        span?.setAttributes(attributes);
        if (step.error !== undefined) span?.setStatus({ code: SpanStatusCode.ERROR, message: step.error });
        span?.end(toTime(step.at));
        open.delete(name);
        break;
      default:
        step satisfies never;
    }
    return span?.spanContext();
  }

  /** What is still open is left to another driver, or to a later one. */
  function end(): void {
    for (const span of [...open.values()].reverse()) span.end();
    open.clear();
  }
  const within = <T>(callId: string, act: () => Promise<T>): Promise<T> => context.with(contextIn(callId), act);
  return { perform, within, end, [Symbol.dispose]: end };
}

/** As seconds and nanoseconds: a small number alone would stand for a time since the process began. */
function toTime(at: number): [number, number] {
  return [Math.floor(at / 1_000), (at % 1_000) * 1_000_000];
}

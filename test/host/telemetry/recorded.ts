import type { Context, TextMapPropagator } from "@opentelemetry/api";
import { TraceFlags, context, isSpanContextValid, metrics, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";

/** The W3C form of a trace context, and baggage beside it that nobody outside may get. */
const propagator: TextMapPropagator = {
  fields: () => ["traceparent"],
  inject(from: Context, carrier, setter) {
    const span = trace.getSpanContext(from);
    if (span === undefined || !isSpanContextValid(span)) return;
    setter.set(carrier, "traceparent", `00-${span.traceId}-${span.spanId}-01`);
    setter.set(carrier, "baggage", "secret=1");
  },
  extract(from: Context, carrier, getter) {
    const [, traceId, spanId] = /^00-(\w{32})-(\w{16})-01$/.exec(String(getter.get(carrier, "traceparent"))) ?? [];
    if (traceId === undefined || spanId === undefined) return from;
    return trace.setSpanContext(from, { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true });
  },
};

/** Registers the real SDK, which keeps everything in memory; disposing takes it away. */
export function observe() {
  const spans = new InMemorySpanExporter();
  const measured = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 3_600_000 });
  const meters = new MeterProvider({ readers: [reader] });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(propagator);
  trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] }));
  metrics.setGlobalMeterProvider(meters);
  return {
    spans: (): readonly ReadableSpan[] => spans.getFinishedSpans(),
    reset: (): void => spans.reset(),
    async metrics() {
      await meters.forceFlush();
      return measured.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
    },
    async [Symbol.asyncDispose]() {
      for (const api of [trace, metrics, context, propagation]) api.disable();
      await meters.shutdown();
    },
  };
}

/** A span without what differs between two of the same: ids. The parent by its name. */
export function toPlain(span: ReadableSpan, all: readonly ReadableSpan[]) {
  const parentId = span.parentSpanContext?.spanId;
  return {
    name: span.name,
    kind: span.kind,
    parent: all.find((other) => other.spanContext().spanId === parentId)?.name ?? null,
    from: span.startTime,
    to: span.endTime,
    status: span.status,
    attributes: span.attributes,
    events: span.events.map(({ name, time, attributes }) => ({ name, time, attributes })),
  };
}

import { appendFileSync } from "node:fs";
import { trace } from "@opentelemetry/api";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace";

// What a user registers with `node --import`: spans go into a file, in batches that a short command is over before.
const file = process.env["SPANS"] ?? "";
const exporter: SpanExporter = {
  export(spans: ReadableSpan[], done) {
    appendFileSync(file, spans.map(({ name }) => `${name}\n`).join(""));
    done({ code: 0 });
  },
  shutdown: () => Promise.resolve(),
};
const processor = new BatchSpanProcessor({ exporter, scheduledDelayMillis: 3_600_000 });
trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: [processor] }));

import { isObserved } from "./carry.ts";

interface Flushing {
  forceFlush(): Promise<void>;
}

/** Has the registered SDK send what it still holds: a process that ends by itself never comes to the moment at which it would. */
export async function flushTelemetry(): Promise<void> {
  if (!isObserved()) return;
  const { ProxyTracerProvider, metrics, trace } = await import("@opentelemetry/api");
  const tracers = trace.getTracerProvider();
  const registered = [
    tracers instanceof ProxyTracerProvider ? tracers.getDelegate() : tracers,
    metrics.getMeterProvider(),
  ];
  await Promise.all(registered.map(async (provider) => (canFlush(provider) ? await provider.forceFlush() : undefined)));
}

function canFlush(provider: object): provider is Flushing {
  return "forceFlush" in provider && typeof provider.forceFlush === "function";
}

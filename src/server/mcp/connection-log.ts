import type { Logger } from "../../host/telemetry/logger.ts";

/** A client that has connected, and under which grant. */
interface Connected {
  readonly transport: "stdio" | "http" | "sse";
  readonly grantId: string;
}

/** Tells the log of the process of a connection, or of a session over HTTP; disposing tells of its end. */
export function logConnection(
  { logger, now }: { readonly logger: Logger | undefined; readonly now: () => number },
  connected: Connected,
): Disposable {
  const openedAt = now();
  logger?.write("info", { name: "connection_opened", at: openedAt, ...connected });
  return {
    [Symbol.dispose]() {
      const at = now();
      logger?.write("info", { name: "connection_closed", at, ...connected, ms: at - openedAt });
    },
  };
}

import { z } from "zod";
import type { Clock } from "../../core/clock.ts";
import { CapstanError, toCapstanError } from "../../core/error.ts";
import { redact } from "../../core/redact.ts";

/** From which level on records are written. */
export const LogLevel = z.enum(["off", "error", "warn", "info", "debug"]);
export type LogLevel = z.infer<typeof LogLevel>;

/** One line of the log. It holds names, ids, numbers and codes, never what anybody said. */
export interface LogRecord {
  /** What happened, such as `provider_call`. */
  readonly name: string;
  /** When, in ms since the epoch. */
  readonly at: number;
  /** An undefined one is left out. */
  readonly [field: string]: string | number | boolean | undefined;
}

/** Writes records as lines of JSON. Must not throw. */
export interface Logger {
  write(level: Exclude<LogLevel, "off">, record: LogRecord): void;
}

/** Where lines go; every writable stream of Node is one. */
export interface LogSink {
  /** How much of what was written nobody has read. */
  readonly writableLength: number;
  write(line: string): unknown;
}

/** A name that is longer than this is cut. */
const maxChars = 200;
/** As long as more than this is unread, records are dropped: a reader that has stopped must fill no memory and hold nothing up. */
const maxUnreadBytes = 1024 * 1024;

/** Opens the log; undefined where it is off, and then its library, some 30 ms of work, is not loaded. */
export async function openLogger(level: LogLevel, to: LogSink = process.stderr): Promise<Logger | undefined> {
  if (level === "off") return undefined;
  const { pino } = await import("pino");
  const lines = pino({ level, base: null, timestamp: false, formatters: { level: (label) => ({ level: label }) } }, to);
  let dropped = 0;
  return {
    write(of, { at, ...record }) {
      if (!lines.isLevelEnabled(of)) return;
      if (to.writableLength > maxUnreadBytes) {
        dropped += 1;
        return;
      }
      const lost = dropped === 0 ? {} : { dropped };
      dropped = 0;
      lines[of]({ time: new Date(at).toISOString(), ...toSafe(record), ...lost });
    },
  };
}

/** What `CAPSTAN_LOG` says; undefined where it is not set or empty. Throws `usage.bad_option`. */
export function parseLogLevel(text: string | undefined): LogLevel | undefined {
  if (text === undefined || text === "") return undefined;
  const level = LogLevel.safeParse(text);
  if (level.success) return level.data;
  throw new CapstanError(
    "usage.bad_option",
    `CAPSTAN_LOG is ${JSON.stringify(text.slice(0, 40))}. Set it to ${LogLevel.options.join(", ")}, or not at all.`,
  );
}

/** `onFault`, with a record of each fault by its code and its class: what it says may hold anything. */
export function withFaultLog(
  onFault: (fault: unknown) => void,
  logger: Logger | undefined,
  clock: Clock,
): (fault: unknown) => void {
  return (fault) => {
    const of = fault instanceof Error ? fault.name : typeof fault;
    logger?.write("error", { name: "fault", at: clock(), code: toCapstanError(fault).code, error: of });
    onFault(fault);
  };
}

/** Names come from configs, clients and models: whatever looks like a key is taken out of them. */
function toSafe(record: Omit<LogRecord, "at">): object {
  return Object.fromEntries(
    Object.entries(record).map(([field, value]) => [
      field,
      typeof value === "string" ? redact(value).slice(0, maxChars) : value,
    ]),
  );
}

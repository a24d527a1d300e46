import { PassThrough } from "node:stream";
import { z } from "zod";
import type { LogLevel, Logger } from "../../../src/host/telemetry/logger.ts";
import { openLogger } from "../../../src/host/telemetry/logger.ts";

const Line = z
  .object({
    level: z.enum(["error", "warn", "info", "debug"]),
    time: z.iso.datetime({ precision: 3 }),
    name: z.string(),
  })
  .catchall(z.union([z.string(), z.number(), z.boolean()]));
export type Line = z.infer<typeof Line>;

/** Lines of a log as records; one that is no JSON fails the test. */
export const toRecords = (text: string): readonly Line[] =>
  text.split("\n").flatMap((line) => (line === "" ? [] : [Line.parse(JSON.parse(line))]));

/** The real log over a stream in memory. */
export async function recording(level: LogLevel = "debug") {
  const stream = new PassThrough({ highWaterMark: 1e9 });
  const logger = await openLogger(level, stream);
  if (logger === undefined) throw new Error("The log is off.");
  let read = "";
  stream.on("data", (chunk) => (read += String(chunk)));
  return {
    logger: logger satisfies Logger,
    text: async (): Promise<string> => {
      await new Promise((resolve) => stream.write("", resolve));
      await new Promise(setImmediate);
      return read;
    },
    async records(): Promise<readonly Line[]> {
      return toRecords(await this.text());
    },
  };
}

import type { BigIntStats } from "node:fs";
import { z } from "zod";

const Time = z.string().nullable().describe("ISO 8601, UTC; null where the file system does not tell");

/** What a stat tells about a file, folder or link. Sizes are bytes. */
export const Metadata = z.strictObject({
  size: z.number().min(0),
  mode: z.string().describe("permission bits, octal"),
  uid: z.number(),
  gid: z.number(),
  links: z.number().describe("hard links; above 1 a file has other names, which may be outside the granted folder"),
  modifiedAt: Time,
  changedAt: Time,
  createdAt: Time,
});
export type Metadata = Readonly<z.infer<typeof Metadata>>;

/** What something is called in answers. Only files and folders are ever opened. */
export const Kind = z.enum(["file", "folder", "symlink", "fifo", "socket", "device"]);
export type Kind = z.infer<typeof Kind>;

export function toKind(stat: BigIntStats): Kind {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "folder";
  if (stat.isSymbolicLink()) return "symlink";
  if (stat.isFIFO()) return "fifo";
  return stat.isSocket() ? "socket" : "device";
}

export function toMetadata(stat: BigIntStats): Metadata {
  return {
    size: Number(stat.size),
    mode: (stat.mode & 0o7777n).toString(8).padStart(4, "0"),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    links: Number(stat.nlink),
    modifiedAt: toTime(stat.mtimeMs),
    changedAt: toTime(stat.ctimeMs),
    createdAt: stat.birthtimeMs === 0n ? null : toTime(stat.birthtimeMs),
  };
}

/** File systems keep times that no Date holds; those must not fail a whole answer. */
function toTime(ms: bigint): string | null {
  const time = new Date(Number(ms));
  return Number.isNaN(time.getTime()) ? null : time.toISOString();
}

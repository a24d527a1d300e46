import { constants } from "node:fs";
import { open, realpath } from "node:fs/promises";
import { resolve } from "node:path";
import { CapstanError } from "../core/error.ts";
import { demand } from "../permissions/demand.ts";
import type { Grant } from "../permissions/grant.ts";
import type { Session } from "./command.ts";

interface Argument {
  /** What names it, for errors: `--image`. */
  readonly option: string;
  readonly file: string;
  readonly maxBytes: number;
}

/** A named pipe is opened without waiting for its other end. Windows has no such flag, and no such pipes. */
const flags = constants.O_RDONLY | (process.platform === "win32" ? 0 : constants.O_NONBLOCK);

/**
 * The bytes of a file that an argument names. The operator names any; the holder of a token one that it may read, links followed. A pipe or
 * a device is none, and is not waited for. Throws `usage.bad_option`, `permission.*`.
 */
export async function readArgument(
  { app, confined }: Pick<Session, "app" | "confined">,
  grant: Grant,
  { option, file, maxBytes }: Argument,
): Promise<Buffer> {
  const refuse = (why: string, cause?: unknown): CapstanError =>
    new CapstanError("usage.bad_option", `${option}: ${file} ${why}`, { cause });
  const missing = (cause: unknown): never => {
    throw refuse("can't be read. Name a file that is there.", cause);
  };
  const demandRead = (path: string): void => demand(grant, [{ type: "read", path }], app.permissions.now());
  const named = resolve(file);
  if (confined) demandRead(named);
  const path = await realpath(named).catch(missing);
  if (confined) demandRead(path);
  await using handle = await open(path, flags).catch(missing);
  const found = await handle.stat();
  if (!found.isFile()) throw refuse("is no plain file. Name one.");
  if (found.size > maxBytes) {
    throw refuse(`has ${found.size} bytes, and ${maxBytes} are the most. Make it smaller.`);
  }
  return await handle.readFile().catch(missing);
}

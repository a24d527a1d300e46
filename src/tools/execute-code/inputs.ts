import { CapstanError } from "../../core/error.ts";
import type { SandboxFile } from "../../sandbox/engine.ts";
import type { Input } from "./schema.ts";

const maxInputBytes = 8 * 1024 * 1024;

/** The files of a call. Throws `sandbox.bad_request` for too many bytes, and for two files of one path. */
export function toFiles(given: Input["files"] = []): readonly SandboxFile[] {
  const files = given.map((file) => ({
    path: file.path,
    bytes: "text" in file ? Buffer.from(file.text) : Buffer.from(file.base64, "base64"),
  }));
  const bytes = files.reduce((sum, file) => sum + file.bytes.length, 0);
  if (bytes > maxInputBytes) {
    throw new CapstanError(
      "sandbox.bad_request",
      `The files have ${bytes} bytes, more than the ${maxInputBytes} that a run takes.`,
    );
  }
  const [twice] = files.filter(({ path }, index) => files.findIndex((file) => file.path === path) < index);
  if (twice !== undefined)
    throw new CapstanError("sandbox.bad_request", `Two files are called ${twice.path}. Rename one.`);
  return files;
}

import { CapstanError } from "../core/error.ts";
import type { SandboxFile } from "./engine.ts";

/** Bytes of one part of a path: what common file systems take (255), with room for a suffix. */
const maxPartBytes = 200;
const maxPathBytes = 1_000;

/**
 * What is wrong with a path for a file that goes into a sandbox or comes out of one; undefined: nothing. Good paths are relative, have
 * `/` between their parts, and mean the same file on every system, whoever writes them to a disk later.
 */
export function wrongWithPath(path: string): string | undefined {
  if (path === "") return "a path must not be empty";
  if (!path.isWellFormed()) return "a path must be well-formed Unicode";
  if (Buffer.byteLength(path) > maxPathBytes) return `a path may have ${maxPathBytes} bytes at most`;
  if (/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u.test(path)) return "a path must not hold control characters";
  if (/[\\:*?"<>|]/.test(path)) return 'a path must not hold any of \\ : * ? " < > |';
  return path
    .split("/")
    .map(wrongWithPart)
    .find((wrong) => wrong !== undefined);
}

/** Throws `sandbox.bad_request` for input files with a path that no sandbox takes. */
export function demandPaths(files: readonly SandboxFile[]): void {
  for (const { path } of files) {
    const wrong = wrongWithPath(path);
    if (wrong !== undefined) {
      throw new CapstanError("sandbox.bad_request", `The input file ${JSON.stringify(path.slice(0, 200))}: ${wrong}.`);
    }
  }
}

function wrongWithPart(part: string): string | undefined {
  if (part === "") return "a path must be relative, without empty parts";
  if (part === "." || part === "..") return 'a path must not have the parts "." or ".."';
  if (Buffer.byteLength(part) > maxPartBytes) return `a part of a path may have ${maxPartBytes} bytes at most`;
  if (/[. ]$/.test(part)) return "a part of a path must not end with a dot or a space";
  if (/^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i.test(part)) return `"${part}" names a device on some systems`;
  return undefined;
}

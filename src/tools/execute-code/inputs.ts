import { CapstanError } from "../../core/error.ts";
import type { Taint } from "../../core/taint.ts";
import { mergeTaint, trusted } from "../../core/taint.ts";
import { readContent } from "../../files/content.ts";
import { locate, readNeeds } from "../../files/locate.ts";
import type { Need } from "../../permissions/grant.ts";
import type { FolderId } from "../../permissions/safe-path.ts";
import { openInside, openRoot } from "../../permissions/safe-path.ts";
import type { SandboxFile } from "../../sandbox/engine.ts";
import type { Artifacts } from "../artifacts.ts";
import { artifactPrefix } from "../artifacts.ts";
import type { CallContext } from "../tool.ts";
import type { InputFile } from "./schema.ts";

/** Of what stands in the arguments themselves; more belongs into a file or an artifact. */
const maxWrittenBytes = 8 * 1024 * 1024;
/** All input files of a run together, where the config says nothing else. */
export const defaultInputBytes = 64 * 1024 * 1024;

/** What a call's files need of its grant: the right to read each artifact and each path that it names. Throws `files.bad_path`. */
export function inputNeeds(given: readonly InputFile[] = []): readonly Need[] {
  const artifacts = given.flatMap(({ artifact }): Need[] =>
    artifact === undefined ? [] : [{ type: "resource", uri: artifact }],
  );
  return [...artifacts, ...readNeeds(given.flatMap(({ from = [] }) => from))];
}

/** Where input files are read from, and how many bytes all of them may have. */
export interface InputSources {
  readonly artifacts: Artifacts;
  /** A folder that no path leads into. */
  readonly hidden: FolderId | undefined;
  readonly maxBytes: number;
}

/** Input files with what is in them, or why there are none; and where untrusted parts of either came from. */
type Inputs = ({ readonly files: readonly SandboxFile[] } | { readonly failure: CapstanError }) & {
  readonly taint: Taint;
};

/**
 * Reads the files of a call whose needs were granted. Failures: `sandbox.bad_request` for two files of one path and for more than may be
 * written into arguments, `resource.unknown` for an artifact that is not there for this grant, `files.too_large` for more than
 * `maxBytes` in all, and `files.*` for a path that can't be read. Throws the reason of an aborted signal.
 */
export async function readInputs(
  given: readonly InputFile[] = [],
  { artifacts, hidden, maxBytes }: InputSources,
  context: Pick<CallContext, "scope" | "principal" | "grant" | "signal">,
): Promise<Inputs> {
  // A sentence about a path may quote names and targets of links, which came from the folder too.
  let taint: Taint = given.some(({ from }) => from !== undefined) ? ["files"] : trusted;
  let [left, writtenLeft] = [maxBytes, maxWrittenBytes];
  try {
    demandOnePathEach(given);
    const files: SandboxFile[] = [];
    for (const file of given) {
      const bytes = await read(file);
      left -= bytes.length;
      if (left < 0) throw tooLarge(file.path, maxBytes);
      files.push({ path: file.path, bytes });
    }
    return { files, taint };
  } catch (failure) {
    if (failure instanceof CapstanError) return { failure, taint };
    throw failure;
  }

  async function read({ text, base64 = "", artifact, from }: InputFile): Promise<Uint8Array> {
    if (from !== undefined) return await readPath(from);
    if (artifact !== undefined) return await readArtifact(artifact);
    const bytes = text === undefined ? Buffer.from(base64, "base64") : Buffer.from(text);
    writtenLeft -= bytes.length;
    if (writtenLeft >= 0) return bytes;
    throw new CapstanError(
      "sandbox.bad_request",
      `The texts of the files have more than ${maxWrittenBytes} bytes together. Name larger files by "from" or "artifact".`,
    );
  }

  async function readPath(path: string): Promise<Uint8Array> {
    const { root, names } = locate(context.grant.rights.read, path);
    using from = openRoot(root, { hidden });
    using opened = openInside(from, names, { want: "file", symlinks: "deny" });
    return await readContent(opened, left, context.signal);
  }

  async function readArtifact(uri: string): Promise<Uint8Array> {
    const found = await artifacts.read(context, uri.slice(artifactPrefix.length));
    if (found === null) {
      throw new CapstanError("resource.unknown", `There is no artifact ${uri} here. It may be too old by now.`);
    }
    taint = mergeTaint(taint, found.taint);
    return found.bytes;
  }
}

/** No two files have one path, and none stands where another has a folder. */
function demandOnePathEach(given: readonly InputFile[]): void {
  const seen = new Set<string>();
  for (const { path } of given) {
    if (seen.has(path)) {
      throw new CapstanError("sandbox.bad_request", `Two files are called ${path}. Rename one.`);
    }
    seen.add(path);
  }
  for (const { path } of given) {
    for (let end = path.indexOf("/"); end > 0; end = path.indexOf("/", end + 1)) {
      const folder = path.slice(0, end);
      if (!seen.has(folder)) continue;
      throw new CapstanError("sandbox.bad_request", `${folder} is a file, so ${path} can't be in it. Rename one.`);
    }
  }
}

function tooLarge(path: string, maxBytes: number): CapstanError {
  return new CapstanError(
    "files.too_large",
    `With ${path} the files have more than the ${maxBytes} bytes that a run takes. Pass less, or have sandbox.inputMb raised.`,
  );
}

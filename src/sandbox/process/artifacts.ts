import type { ExecLimits, SandboxFile } from "../engine.ts";
import { wrongWithPath } from "../guest-path.ts";
import type { Frame } from "./wire.ts";

/** Frames that a well-behaved child does not come near: it looks at a thousand entries of /out. */
const maxFrames = 2_000;

/** The files that came out of a run. */
export interface Artifacts {
  readonly files: readonly SandboxFile[];
  /** Takes a file, or refuses it; false: there is no end to them. */
  take(frame: Extract<Frame, { type: "artifact" }>): boolean;
  /** What was refused and why, if anything was. */
  note(): string | undefined;
}

/** Takes files from a child that may lie about their names, sizes and number. */
export function openArtifacts(limits: Pick<ExecLimits, "artifacts" | "artifactBytes">): Artifacts {
  const files: SandboxFile[] = [];
  const paths = new Set<string>();
  let bytesLeft = limits.artifactBytes;
  let refused = 0;
  let firstWhy = "";
  return {
    files,
    take({ path, data }) {
      const bytes = Buffer.from(data, "base64");
      const tooMuch = files.length >= limits.artifacts || bytes.length > bytesLeft;
      const why =
        wrongWithPath(path) ??
        (paths.has(path) ? "a path came twice" : tooMuch ? "more came than the limits allow" : undefined);
      if (why === undefined) {
        files.push({ path, bytes });
        paths.add(path);
        bytesLeft -= bytes.length;
      } else {
        refused += 1;
        firstWhy ||= why;
      }
      return files.length + refused <= maxFrames;
    },
    note: () => (refused === 0 ? undefined : `${refused} of /out were refused, the first because ${firstWhy}`),
  };
}

import { z } from "zod";
import type { ArtifactLimits } from "./artifacts.ts";

/**
 * Less than one run may leave would drop files of the run itself: 64 MiB in 100 files, the most that `sandbox` allows, and what has no
 * room in its answer, which is 4 MiB of prints (12 where each byte is no text) and of result each, and an error, in 4 files.
 */
const [minMegabytes, minCount] = [96, 128];

/** The `tools` part of the config. */
export const ToolsConfig = z.strictObject({
  /** Files that tools made, kept for a while; of one user the oldest make room for new ones. */
  artifacts: z
    .strictObject({
      days: z.int().min(1).max(365).default(7),
      /** Of one user, all together; and how many. */
      megabytes: z.int().min(minMegabytes).max(65_536).default(256),
      count: z.int().min(minCount).max(100_000).default(1_000),
    })
    .prefault({}),
});
export type ToolsConfig = Readonly<z.infer<typeof ToolsConfig>>;

/** How long and how much is kept, by the config. */
export function toArtifactLimits({ artifacts: { days, megabytes, count } }: ToolsConfig): ArtifactLimits {
  return { lifetimeMs: days * 86_400_000, count, bytes: megabytes * 1024 * 1024 };
}

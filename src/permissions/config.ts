import { z } from "zod";

/** The `permissions` part of the config: what the operator's own grant holds beyond the default, and how approvals are given. */
export const PermissionsConfig = z.strictObject({
  /** Folders that the operator's grant reads, as if named by `--root`. */
  read: z.array(z.string()).default([]),
  /** Folders that it may write, as if named by `--write`. */
  write: z.array(z.string()).default([]),
  /** Tools beyond the default, as if named by `--allow`. */
  allow: z.array(z.string()).default([]),
  /** Tools, where it holds them, that may be called after untrusted content came in, without asking for that. */
  tainted: z.array(z.string()).default([]),
  /** Resources beyond the default: URIs, each with all below it; `*` for any. */
  resources: z.array(z.string()).default([]),
  /** Prompts beyond those of this config: names, or `prefix*`. */
  prompts: z.array(z.string()).default([]),
  /** Whoever asked can't approve. */
  fourEyes: z.boolean().default(false),
});
export type PermissionsConfig = Readonly<z.infer<typeof PermissionsConfig>>;

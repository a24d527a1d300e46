import { z } from "zod";

/** The `server` part of the config: what MCP clients are served, and how. */
export const ServerSettings = z.strictObject({
  /** Host names beyond those of the address that is listened on, under which clients may reach the server (`host` or `host:port`). */
  hosts: z.array(z.string().min(1)).default([]),
  /** Origins (`https://app.example`) whose pages may call from browsers, and read the answers. What has no host is nobody's alone. */
  origins: z
    .array(z.string().refine((url) => (URL.parse(url)?.host ?? "") !== "", "an origin is written SCHEME://HOST[:PORT]"))
    .default([]),
  /** The address that clients know the server by, where a proxy stands in front. Missing: that of the request. */
  publicUrl: z.url().optional(),
  /** Which tools a client is shown: `all`, the few that find the others (`search`), or those where all would take too much (`auto`). */
  discovery: z.enum(["auto", "all", "search"]).default("auto"),
  /** The tokens from which on all definitions are too much; at four characters a token. */
  discoveryTokens: z.int().min(0).max(10_000_000).default(10_000),
  /**
   * The most text of a result, in bytes as JSON; of a larger one a client gets links. 64 KiB of dense JSON are some 25,000 tokens, which
   * is where Claude Code cuts a result.
   */
  resultBytes: z
    .int()
    .min(32 * 1024)
    .max(4 * 1024 * 1024)
    .default(64 * 1024),
  /** Prompts that the server offers, by name. */
  prompts: z
    .record(
      z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "a prompt's name is 1 to 64 letters, digits, _ or -"),
      z.strictObject({
        title: z.string().optional(),
        description: z.string().default(""),
        /** `{{ name }}` stands for an argument. */
        text: z.string().min(1),
        arguments: z
          .record(
            z.string(),
            z.strictObject({
              description: z.string().default(""),
              required: z.boolean().default(false),
              /** Suggested values, for completion. */
              values: z.array(z.string()).default([]),
            }),
          )
          .default({}),
      }),
    )
    .default({}),
});
export type ServerSettings = Readonly<z.infer<typeof ServerSettings>>;

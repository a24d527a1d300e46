import { z } from "zod";

/** The `server` part of the config: what MCP clients are served, and how. */
export const ServerSettings = z.strictObject({
  /** Host names beyond those of the address that is listened on, under which clients may reach the server (`host` or `host:port`). */
  hosts: z.array(z.string().min(1)).default([]),
  /** Origins (`https://app.example`) that browsers may call from. */
  origins: z.array(z.url()).default([]),
  /** The address that clients know the server by, where a proxy stands in front. Missing: that of the request. */
  publicUrl: z.url().optional(),
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

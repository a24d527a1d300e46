import { isAbsolute } from "node:path";
import { z } from "zod";
import { longestMs } from "../../core/clock.ts";
import { isBaseUrl } from "../config.ts";

/** A server's name in the config: it begins the names of its tools (`github__create_issue`) and the URIs of its resources. */
export const ServerName = z
  .string()
  .regex(
    /^[a-z][a-z0-9-]{0,31}$/,
    "a server's name is 1 to 32 small letters, digits and hyphens, and begins with a letter",
  );

/** What the operator says of one tool of a server. What is not said is the worst: a sink with effect `once`. */
const ServedTool = z.strictObject({
  effect: z.enum(["read", "idempotent", "once"]).default("once"),
  /** Sends data out or destroys something: asks after untrusted content came in. */
  sink: z.boolean().default(true),
});
export type ServedTool = Readonly<z.infer<typeof ServedTool>>;

const Common = {
  /** False keeps the server in the config without ever starting it. */
  enabled: z.boolean().default(true),
  /** How long one call may stay without an answer or progress, in ms. */
  timeoutMs: z.int().min(100).max(longestMs).default(60_000),
  /** How long one call may take in all, whatever progress it reports. */
  totalTimeoutMs: z.int().min(100).max(longestMs).default(600_000),
  /** How long starting, connecting and the first listing may take. */
  startTimeoutMs: z.int().min(100).max(longestMs).default(10_000),
  /** By the tool's own name at the server. */
  tools: z.record(z.string(), ServedTool).default({}),
  /** False publishes tools and prompts under their own names and resources under their own URIs; what has a name that is taken is left out. */
  prefix: z.boolean().default(true),
};

/** What a program can be told: the system ends a text at a NUL. */
const ProgramText = z.string().refine((text) => !text.includes("\0"), "no program can be told a NUL character");
const VariableName = z.string().regex(/^[^=\0]+$/, "a variable's name is not empty and holds no = and no NUL");

const StdioServer = z.strictObject({
  command: ProgramText.min(1),
  args: z.array(ProgramText).default([]),
  /** All of its environment beside PATH, HOME, USER, LOGNAME, LANG, SHELL, TERM and TMPDIR. `${NAME}` is a variable of Capstan's own. */
  env: z.record(VariableName, ProgramText).default({}),
  /** An absolute folder. Missing: an empty one of its own. */
  cwd: ProgramText.refine(isAbsolute, "a server's folder is written as an absolute path").optional(),
  /** `auto`: inside bubblewrap, with Capstan's home masked, where that works. `never`: without. */
  bubblewrap: z.enum(["auto", "never"]).default("auto"),
  ...Common,
});
export type StdioServer = Readonly<z.infer<typeof StdioServer>>;

/** The authorization server that credentials may go to. Missing: the one that the server names when it is first signed in at. */
const issuer = z.url().optional();

/** How to sign in at a remote server. Secrets are named by the environment variable that holds them. */
const Auth = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("bearer"), tokenEnv: z.string().min(1) }),
  z.strictObject({
    type: z.literal("client_credentials"),
    clientId: z.string().min(1),
    clientSecretEnv: z.string().min(1),
    scopes: z.array(z.string()).default([]),
    issuer,
  }),
  z.strictObject({
    type: z.literal("authorization_code"),
    /** Missing: registered at the authorization server, by a metadata document or dynamically. */
    clientId: z.string().optional(),
    /** Where a document describes this client (client ID metadata document), for authorization servers that take such. */
    clientMetadataUrl: z
      .url({ protocol: /^https$/, error: "a client's metadata document is at an https:// URL" })
      .refine((url) => URL.parse(url)?.pathname !== "/", { error: "a client's metadata document has a path" })
      .optional(),
    clientSecretEnv: z.string().optional(),
    scopes: z.array(z.string()).default([]),
    issuer,
    /** The loopback port that the browser comes back to; 0: a free one. */
    callbackPort: z.int().min(0).max(65_535).default(0),
  }),
]);
export type ServerAuth = Readonly<z.infer<typeof Auth>>;

const HttpServer = z.strictObject({
  url: z.string().refine(isBaseUrl, { error: "a URL begins with http:// or https:// and holds no password" }),
  /** Sent with each request; `${NAME}` is a variable of Capstan's own environment. */
  headers: z.record(z.string(), z.string()).default({}),
  /** Missing: signs in by authorization code where the server asks for it and a person is there. */
  auth: Auth.optional(),
  /** Whether the server, and what its sign-in metadata names, may be at private or loopback addresses or without TLS. */
  private: z.boolean().default(false),
  ...Common,
});
export type HttpServer = Readonly<z.infer<typeof HttpServer>>;

/** One MCP server behind Capstan: a program on stdio, or a URL. */
const ServerConfig = z.union([StdioServer, HttpServer]);
export type ServerConfig = Readonly<z.infer<typeof ServerConfig>>;

/** The `mcp` part of the config: the servers whose tools, resources and prompts stand behind Capstan's door. */
export const McpConfig = z.strictObject({ servers: z.record(ServerName, ServerConfig).default({}) });
export type McpConfig = Readonly<z.infer<typeof McpConfig>>;

import { z } from "zod";
import { IsolationLevel } from "../core/isolation.ts";
import { Limits } from "../core/limits.ts";
import { Principal, Scope } from "../core/scope.ts";

const Scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);

/**
 * Which URLs: `hosts` are exact names, with `:port` where it is not the scheme's own, or `*.suffix` (matched on the dot), or `*` for any;
 * `schemes` without colon; `private` allows private addresses and local names.
 */
export const UrlRule = z.strictObject({
  hosts: z.array(z.string()).min(1),
  schemes: z.array(z.enum(["https", "http", "wss", "ws"])).min(1),
  private: z.boolean(),
});
export type UrlRule = Readonly<z.infer<typeof UrlRule>>;

/**
 * What a value must satisfy. Typed and few, so that "child within parent" is decidable and checking is bounded: no regular
 * expressions, no programs. An unknown kind denies.
 */
export type Constraint =
  | { readonly type: "any" }
  | { readonly type: "exact"; readonly value: string | number | boolean | null }
  | { readonly type: "one_of"; readonly values: readonly (string | number | boolean | null)[] }
  | { readonly type: "range"; readonly min: number; readonly max: number }
  | { readonly type: "string"; readonly maxLength: number }
  | { readonly type: "path"; readonly under: string }
  | { readonly type: "uri"; readonly under: string }
  | ({ readonly type: "url" } & UrlRule)
  | { readonly type: "each"; readonly of: Constraint; readonly max: number }
  | { readonly type: "subset"; readonly values: readonly (string | number | boolean | null)[] };
export const Constraint: z.ZodType<Constraint> = z.lazy(() =>
  z.discriminatedUnion("type", [
    z.strictObject({ type: z.literal("any") }),
    z.strictObject({ type: z.literal("exact"), value: Scalar }),
    z.strictObject({ type: z.literal("one_of"), values: z.array(Scalar) }),
    z.strictObject({ type: z.literal("range"), min: z.number(), max: z.number() }),
    z.strictObject({ type: z.literal("string"), maxLength: z.int().min(0) }),
    z.strictObject({ type: z.literal("path"), under: z.string() }),
    z.strictObject({ type: z.literal("uri"), under: z.string() }),
    z.strictObject({ type: z.literal("url"), ...UrlRule.shape }),
    z.strictObject({ type: z.literal("each"), of: Constraint, max: z.int().min(0) }),
    z.strictObject({ type: z.literal("subset"), values: z.array(Scalar) }),
  ]),
);

/** A constraint on one named argument. `optional: true` also accepts the argument's absence; without it only `any` does. */
export const ArgumentRule = z.strictObject({
  name: z.string().min(1).max(256),
  rule: Constraint,
  optional: z.boolean(),
});
export type ArgumentRule = Readonly<z.infer<typeof ArgumentRule>>;

/**
 * The right to call one tool. Missing `args`: any arguments. Present: a closed world, an argument that it does not name is refused
 * (`[]` allows only a call without arguments). `ask`: each call needs an approval. `tainted`: a sink may be called after
 * untrusted content came in without asking.
 */
export const ToolRight = z.strictObject({
  name: z.string().min(1).max(128),
  pin: z.string().min(1).max(128),
  args: z.array(ArgumentRule).optional(),
  ask: z.boolean(),
  tainted: z.boolean(),
});
export type ToolRight = Readonly<z.infer<typeof ToolRight>>;

/** Decisions look a tool up by its name, whatever their number; a derivation looks at each (some 10 µs). */
const maxTools = 2_000;

/** How many entries each list of rights may have: a grant with more could not be read back. */
export const mostRights = {
  ...{ tools: maxTools, approve: maxTools, prompts: 256 },
  ...{ resources: 64, read: 64, write: 64, net: 64, sessions: 64 },
} as const;

/** The rights of a grant. Every list is closed: `[]` allows nothing of its kind. */
export const Rights = z.strictObject({
  tools: z.array(ToolRight).max(maxTools),
  /** Constraints on a resource URI, one of which must hold. */
  resources: z.array(Constraint).max(mostRights.resources),
  /** Names of prompts; a `*` at the end stands for every name that begins so, also of prompts that appear later. */
  prompts: z.array(z.string()).max(mostRights.prompts),
  /** Absolute folders or files, without `.` or `..` parts, that may be read, with all below them. */
  read: z.array(z.string()).max(mostRights.read),
  write: z.array(z.string()).max(mostRights.write),
  net: z.array(UrlRule).max(mostRights.net),
  runs: z.array(z.enum(["create", "read", "resume", "cancel"])),
  /** Names of sandbox sessions; `*` stands for all of the grant's own lineage. */
  sessions: z.array(z.string()).max(mostRights.sessions),
  /** Names of tools whose calls the holder may approve. */
  approve: z.array(z.string()).max(maxTools),
  /** The weakest sandbox that code may run in. */
  isolation: IsolationLevel,
});
export type Rights = Readonly<z.infer<typeof Rights>>;

/**
 * A set of rights with their owner, their limits and their end. Frozen inside the process; signed, it is a token. `ancestors`, root
 * first, are charged and checked for revocation with it. `delegations` is how many generations may still be derived. `run`, when
 * present, binds the grant to that run. `met`, of a grant that is the meet of others, names those: what comes in under it has come
 * in under each of them. Times are ms since the epoch.
 */
export const Grant = z.strictObject({
  id: z.string().min(1).max(64),
  ancestors: z.array(z.strictObject({ id: z.string().min(1).max(64), limits: Limits })).max(16),
  principal: Principal,
  scope: Scope,
  met: z.array(z.string().min(1).max(64)).max(16).optional(),
  run: z.string().optional(),
  issuedAt: z.int(),
  notBefore: z.int(),
  expiresAt: z.int(),
  epoch: z.int().min(0),
  delegations: z.int().min(0).max(8),
  rights: Rights,
  limits: Limits,
});
export type Grant = Readonly<z.infer<typeof Grant>>;

/** What a child asks of its parent: complete, nothing is inherited silently, so a dropped constraint, flag or limit is a widening. */
export const GrantRequest = z.strictObject({
  rights: Rights,
  limits: Limits,
  expiresAt: z.int(),
  delegations: z.int().min(0).max(8),
  run: z.string().optional(),
});
export type GrantRequest = Readonly<z.infer<typeof GrantRequest>>;

/** What one act needs of a grant. A tool names the needs of a call; the server names those of every other method. */
export type Need =
  | {
      readonly type: "tool";
      readonly name: string;
      readonly pin: string;
      readonly args: Readonly<Record<string, unknown>>;
    }
  | { readonly type: "resource"; readonly uri: string }
  | { readonly type: "prompt"; readonly name: string }
  | { readonly type: "read"; readonly path: string }
  | { readonly type: "write"; readonly path: string }
  /** Without a URL: some host at all; which one, is asked again for each connection. */
  | { readonly type: "net"; readonly url?: string }
  | { readonly type: "run"; readonly action: "create" | "read" | "resume" | "cancel"; readonly runId?: string }
  | { readonly type: "session"; readonly name: string }
  | { readonly type: "isolation"; readonly level: IsolationLevel }
  | { readonly type: "delegate" }
  | { readonly type: "approve"; readonly tool: string };

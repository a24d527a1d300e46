import { z } from "zod";

const name = z
  .string()
  .min(1)
  .max(64)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._@-]*$/);

/** Where state lives: an organization and a project in it. Nothing is shared between two scopes. */
export const Scope = z.strictObject({ org: name, project: name });
export type Scope = Readonly<z.infer<typeof Scope>>;

/** Who acts: a user of an organization. On stdio and on the command line, the operator of the home. */
export const Principal = z.strictObject({ org: name, user: name });
export type Principal = Readonly<z.infer<typeof Principal>>;

/** The scope and the principal of a home that serves one person. */
export const localScope: Scope = { org: "local", project: "default" };
export const localPrincipal: Principal = { org: "local", user: "operator" };

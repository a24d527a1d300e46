import { z } from "zod";

/**
 * The parts of the registry's schema 2025-12-11 that `server.json` uses, written down by hand from its text
 * (https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json). It is stricter: a key that is not used here is refused,
 * where the registry would let it pass.
 */
const Input = {
  description: z.string().optional(),
  format: z.enum(["string", "number", "boolean", "filepath"]).optional(),
  isRequired: z.boolean().optional(),
  isSecret: z.boolean().optional(),
  value: z.string().optional(),
  default: z.string().optional(),
};

const Argument = z.discriminatedUnion("type", [
  z
    .strictObject({ type: z.literal("positional"), valueHint: z.string().optional(), ...Input })
    .refine(({ value, valueHint }) => value !== undefined || valueHint !== undefined, "a value or a valueHint"),
  z.strictObject({ type: z.literal("named"), name: z.string(), isRepeated: z.boolean().optional(), ...Input }),
]);

/** A version, and no range of them: the registry refuses `latest`, `^1.2.3` and `1.x`. */
const Version = z
  .string()
  .max(255)
  .regex(/^\d+\.\d+\.\d+(?:-[\w.-]+)?$/);

export const ServerJson = z.strictObject({
  $schema: z.literal("https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"),
  name: z
    .string()
    .min(3)
    .max(200)
    .regex(/^[a-zA-Z0-9.-]+\/[a-zA-Z0-9._-]+$/),
  title: z.string().min(1).max(100).optional(),
  description: z.string().min(1).max(100),
  version: Version,
  packages: z.array(
    z.strictObject({
      registryType: z.enum(["npm", "mcpb"]),
      identifier: z.string(),
      version: Version,
      runtimeHint: z.string().optional(),
      transport: z.strictObject({ type: z.literal("stdio") }),
      packageArguments: z.array(Argument).optional(),
      environmentVariables: z.array(z.strictObject({ name: z.string(), ...Input })).optional(),
    }),
  ),
});

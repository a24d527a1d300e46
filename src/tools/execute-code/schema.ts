import { z } from "zod";
import { IsolationLevel } from "../../core/isolation.ts";
import { wrongWithPath } from "../../sandbox/guest-path.ts";

const maxCodeLength = 256 * 1024;
const maxFiles = 100;

const Path = z.string().refine((path) => wrongWithPath(path) === undefined, {
  error: ({ input }) => wrongWithPath(String(input)) ?? "a path is expected",
});
/**
 * What `execute_code` takes. Defaults are applied in `run`, not by the schema: a grant that names arguments is not tripped by what nobody
 * passed.
 */
export const Input = z.strictObject({
  language: z.enum(["javascript", "typescript", "python"]),
  code: z.string().max(maxCodeLength),
  files: z
    .array(
      z.union([z.strictObject({ path: Path, text: z.string() }), z.strictObject({ path: Path, base64: z.base64() })]),
    )
    .max(maxFiles)
    .optional()
    .describe("Files that the code can read, by their relative paths."),
  timeoutMs: z.int().min(1).optional().describe("Wall time; never more than what is configured and granted."),
  memoryMb: z.int().min(16).optional().describe("Memory; never more than what is configured and granted."),
});
export type Input = z.infer<typeof Input>;

/** What `execute_code` answers. */
export const Output = z.strictObject({
  status: z.enum(["ok", "error", "timeout", "memory", "output", "crashed", "denied", "cancelled"]),
  stdout: z.string(),
  stderr: z.string(),
  outputCut: z.literal(true).optional().describe("stdout and stderr were longer than what is kept."),
  result: z.unknown().describe("The value of the last expression as JSON; null when there is none."),
  resultNote: z.string().optional().describe("What JSON could not hold of the result."),
  error: z.string().optional(),
  artifacts: z.array(
    z.strictObject({
      path: z.string(),
      bytes: z.int(),
      mimeType: z.string(),
      uri: z.string().describe("the resource that holds it"),
      text: z.string().optional(),
      base64: z.string().optional(),
    }),
  ),
  usage: z.strictObject({ wallMs: z.int(), cpuMs: z.int(), memoryBytes: z.int() }),
  isolation: z.strictObject({ engine: z.string(), level: IsolationLevel, network: z.string() }),
});
export type Output = z.infer<typeof Output>;

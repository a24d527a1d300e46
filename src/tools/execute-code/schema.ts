import { z } from "zod";
import { IsolationLevel } from "../../core/isolation.ts";
import { sessionName } from "../../permissions/session-name.ts";
import type { Engine, Language } from "../../sandbox/engine.ts";
import { wrongWithPath } from "../../sandbox/guest-path.ts";
import { languagesOf } from "./engine.ts";

const maxCodeLength = 256 * 1024;
const maxFiles = 100;

const Path = z.string().refine((path) => wrongWithPath(path) === undefined, {
  error: ({ input }) => wrongWithPath(String(input)) ?? "a path is expected",
});
const artifactUri = /^capstan:\/\/artifacts\/artifact_[0-9a-f]{32}$/;
const sources = ["text", "base64", "artifact", "from"] as const;
// One object with four choices, where a union would tell models each of them in full.
const InputFile = z
  .strictObject({
    path: Path,
    text: z.string().exactOptional(),
    base64: z.base64().exactOptional(),
    artifact: z
      .string()
      .refine((uri) => artifactUri.test(uri), { error: "expected capstan://artifacts/ID of an earlier answer" })
      .exactOptional()
      .describe("its uri"),
    from: z.string().min(1).max(4096).exactOptional().describe("absolute path in a granted folder"),
  })
  .refine((file) => sources.filter((name) => name in file).length === 1, {
    error: `expected "path" and one of ${sources.join(", ")}`,
  });
/** A file for the code: what is in it, or where that is. */
export type InputFile = Readonly<z.infer<typeof InputFile>>;

const InputShape = (languages: readonly Language[]) =>
  z.strictObject({
    language: z.enum(languages),
    code: z.string().max(maxCodeLength),
    files: z
      .array(InputFile)
      .max(maxFiles)
      .optional()
      .describe("Each: a relative path, and text, base64, artifact or from."),
    session: z.string().regex(sessionName).optional().describe("A name, under which variables and files live on."),
    network: z.boolean().optional().describe("Reach granted hosts by HTTP(S)."),
    timeoutMs: z.int().min(1).optional().describe("Wall time, within what is granted."),
    memoryMb: z.int().min(16).optional().describe("Memory, within what is granted."),
  });
export type Input = z.infer<ReturnType<typeof InputShape>>;

/**
 * What `execute_code` takes, of what the engines offer. Defaults are applied in `run`, not by the schema: a grant that names
 * arguments is not tripped by what nobody passed.
 */
export function toInput(engines: readonly Engine[]): z.ZodType<Input> {
  const shape = InputShape(languagesOf(engines));
  return engines.some(({ can }) => can.network) ? shape : shape.omit({ network: true });
}

/** What the tool says of itself, as far as it is true of these languages. */
export function toDescription(engines: readonly Engine[]): string {
  const languages = languagesOf(engines);
  const hasNetwork = engines.some(({ can }) => can.network);
  const packages = engines.flatMap((engine) =>
    (engine.packages ?? []).length === 0 ? [] : [` in ${engine.name} also ${shortList(engine.packages)}`],
  );
  const speaks = (language: Language): boolean => languages.includes(language);
  return [
    `Runs code without this machine's files${hasNetwork ? "" : " and without network"}. The last expression's value is the result; top-level await works.`,
    ...(speaks("javascript")
      ? [
          "JavaScript and TypeScript: console, timers, files.list(), .read(path), .readBytes(path), " +
            ".write(path, textOrBytes), await tools.NAME({argument: value}).",
        ]
      : []),
    ...(speaks("python")
      ? [
          `Python (${["standard library", ...packages].join(";")}): files in /in, what is written to /out comes back, tools.NAME(argument=value).`,
        ]
      : []),
    ...(speaks("bash")
      ? [`Bash: /in and /out too, tools NAME '{"argument": 1}'; its result is the variable result.`]
      : []),
    "Without a session each run starts anew.",
  ].join(" ");
}

/** So many names of packages are told; the others import as well. */
const maxPackages = 30;

function shortList(packages: readonly string[] = []): string {
  const more = packages.length > maxPackages ? `, and ${packages.length - maxPackages} more` : "";
  return `${packages.slice(0, maxPackages).join(", ")}${more}`;
}

/** What `execute_code` answers. */
export const Output = z.strictObject({
  status: z.enum(["ok", "error", "timeout", "memory", "output", "crashed", "denied", "cancelled"]),
  stdout: z.string(),
  stderr: z.string(),
  outputCut: z.literal(true).optional().describe("Not all is kept."),
  result: z.unknown(),
  resultNote: z.string().optional().describe("What is not in it, and where it is."),
  error: z.string().optional(),
  artifacts: z.array(
    z.strictObject({
      path: z.string(),
      bytes: z.int(),
      mimeType: z.string(),
      uri: z.string(),
      text: z.string().optional(),
      base64: z.string().optional(),
    }),
  ),
  usage: z.strictObject({ wallMs: z.int(), cpuMs: z.int(), memoryBytes: z.int() }),
  isolation: z.strictObject({ engine: z.string(), level: IsolationLevel, network: z.string() }),
  session: z
    .strictObject({
      isNew: z.boolean(),
      isOver: z.boolean(),
      note: z.string().optional(),
    })
    .optional(),
});
export type Output = z.infer<typeof Output>;

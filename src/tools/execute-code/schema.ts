import { z } from "zod";
import { IsolationLevel } from "../../core/isolation.ts";
import { isJsonObject } from "../../core/json.ts";
import { valueInWords } from "../../core/value-in-words.ts";
import { sessionName } from "../../permissions/session-name.ts";
import type { Engine, Language } from "../../sandbox/engine.ts";
import { wrongWithPath } from "../../sandbox/guest-path.ts";
import { languagesOf } from "./engine.ts";

const maxCodeLength = 256 * 1024;
const maxFiles = 100;

const Path = z.string().refine((path) => wrongWithPath(path) === undefined, {
  error: ({ input }) => wrongWithPath(String(input)) ?? "a path is expected",
});
const sources: readonly string[] = ["text", "base64", "artifact", "from"];
const InputFile = z.union(
  [
    z.strictObject({ path: Path, text: z.string() }),
    z.strictObject({ path: Path, base64: z.base64() }),
    z.strictObject({
      path: Path,
      artifact: z
        .string()
        .regex(/^capstan:\/\/artifacts\/artifact_[0-9a-f]{32}$/)
        .describe("capstan://artifacts/ID of an earlier answer"),
    }),
    z.strictObject({
      path: Path,
      from: z.string().min(1).max(4096).describe("absolute path of a file in a granted folder"),
    }),
  ],
  { error: ({ input }) => wrongWithKeys(input) },
);
/** A file for the code: what is in it, or where that is. */
export type InputFile = Readonly<z.infer<typeof InputFile>>;

/** What is wrong with the keys of a file, at once instead of for each of its forms; undefined: nothing, or it is no object. */
function wrongWithKeys(file: unknown): string | undefined {
  if (!isJsonObject(file)) return undefined;
  const keys = Object.keys(file);
  const isForm = keys.length === 2 && "path" in file && keys.some((key) => sources.includes(key));
  if (isForm) return undefined;
  const got = keys.length === 0 ? "nothing" : keys.slice(0, 8).map(valueInWords).join(", ");
  return `expected "path" and one of ${sources.join(", ")}, got ${got}`;
}

const InputShape = (languages: readonly Language[]) =>
  z.strictObject({
    language: z.enum(languages),
    code: z.string().max(maxCodeLength),
    files: z.array(InputFile).max(maxFiles).optional().describe("Files for the code, by relative paths."),
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
          "JavaScript and TypeScript: console, timers, files.list(), files.read(path), files.readBytes(path), " +
            "files.write(path, textOrBytes), await tools.NAME({argument: value}).",
        ]
      : []),
    ...(speaks("python")
      ? [
          `Python (${["standard library", ...packages].join(";")}): the files are in /in, what is written to /out comes back, tools.NAME(argument=value).`,
        ]
      : []),
    ...(speaks("bash")
      ? [
          `Bash: files in /in and /out too, tools NAME '{"argument": 1}', and what the variable result is at the end is the result.`,
        ]
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
  outputCut: z.literal(true).optional().describe("Of stdout and stderr not all is kept."),
  result: z.unknown().describe("As JSON; null when there is none."),
  resultNote: z.string().optional().describe("What is not in it, and where it is."),
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
  session: z
    .strictObject({
      isNew: z.boolean(),
      isOver: z.boolean(),
      note: z.string().optional(),
    })
    .optional(),
});
export type Output = z.infer<typeof Output>;

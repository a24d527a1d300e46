import { isUtf8 } from "node:buffer";
import { z } from "zod";
import { CapstanError, meaningOf } from "../core/error.ts";
import type { ErrorCode } from "../core/error.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { headBytes, toMediaType } from "../files/media-type.ts";
import type { Grant } from "../permissions/grant.ts";
import type { Engine, ExecLimits, ExecResult, Language, SandboxFile } from "../sandbox/engine.ts";
import { smallest } from "./amounts.ts";
import { fromZod } from "./schema.ts";
import type { CallContext, Effect, Outcome, Tool } from "./tool.ts";
import { defineTool } from "./tool.ts";

export interface CodeServices {
  /** In the order in which they are asked whether they speak a language. */
  readonly engines: readonly Engine[];
  /** The most that one run may use; a call and a grant can only lower it. */
  readonly limits: ExecLimits;
  /** What a grant may call: that is what code under it can reach. */
  readonly listed: (grant: Grant) => readonly Tool[];
}

const toolName = "execute_code";
const mebibyte = 1024 * 1024;

/** Opening a sandbox for the first time makes what later ones start from; that time is not the code's. */
const openingMs = 60_000;

const InputFile = z.union([
  z.strictObject({ path: z.string().min(1).max(1000), text: z.string().max(4 * mebibyte) }),
  z.strictObject({ path: z.string().min(1).max(1000), base64: z.base64().max(6 * mebibyte) }),
]);

const Input = z.strictObject({
  language: z.enum(["javascript", "typescript", "python"]),
  code: z.string().max(mebibyte).describe("The value of its last expression is the result. Top-level await works."),
  files: z
    .array(InputFile)
    .max(50)
    .optional()
    .describe("Files for the code: JavaScript files.read(path), Python /in/path."),
  timeoutMs: z.int().min(1).optional().describe("Wall time, in ms. Less than the configured limit, never more."),
  memoryMb: z.int().min(1).optional().describe("Memory, in MB. Less than the configured limit, never more."),
});
type Input = z.infer<typeof Input>;

const Artifact = z.strictObject({
  path: z.string(),
  bytes: z.int(),
  mimeType: z.string(),
  text: z.string().optional(),
  base64: z.string().optional(),
});

const Output = z.strictObject({
  status: z.enum(["ok", "error", "timeout", "memory", "output", "crashed", "denied", "cancelled"]),
  stdout: z.string(),
  stderr: z.string(),
  outputCut: z.boolean(),
  result: z.json(),
  resultNote: z.string().optional(),
  error: z.string().optional(),
  artifacts: z.array(Artifact),
  usage: z.strictObject({ wallMs: z.number(), cpuMs: z.number(), memoryBytes: z.number() }),
  isolation: z.strictObject({ engine: z.string(), level: z.string(), network: z.string() }),
});
type Output = z.infer<typeof Output>;

/**
 * `execute_code`: runs code in a new sandbox, without network and without the host's files. Code may call the tools that the caller's
 * grant allows, each time through the door. How code ends, a timeout or a crash too, is a value; everything but `ok` is an error.
 */
export function executeCodeTool({ engines, limits, listed }: CodeServices): Tool {
  const engineFor = (language: Language): Engine | undefined =>
    engines.find(({ languages }) => languages.includes(language));

  return defineTool<Input, Output>({
    name: toolName,
    title: "Run code in a sandbox",
    description:
      "Runs JavaScript, TypeScript or Python in a sandbox of its own, without network and without the host's files. " +
      "Files go in by `files` and come out as artifacts (JavaScript files.write(path, data), Python /out). " +
      "Code can call the other tools: JavaScript `await tools.NAME({…})`, Python `tools.NAME(…)`.",
    input: fromZod(Input),
    output: fromZod(Output),
    hints: { readOnly: false, destructive: false, idempotent: false, openWorld: false },
    // A sandbox leaves nothing behind, so running code again harms no more than what it calls does.
    effect: (_, grant): Effect => (listed(grant).some(isOnceForCode) ? "once" : "idempotent"),
    needs({ language }) {
      const engine = engineFor(language);
      return engine === undefined ? [] : [{ type: "isolation", level: engine.level }];
    },
    reserve: (input, grant) => {
      const { wallMs, cpuMs } = toLimits(input, limits, grant);
      return { wallMs, cpuMs };
    },
    timeoutMs: ({ timeoutMs }) => Math.min(timeoutMs ?? limits.wallMs, limits.wallMs) + openingMs,
    async run(input, context) {
      const engine = engineFor(input.language);
      if (engine === undefined) throw noEngine(input.language, engines);
      await using sandbox = await engine.open(input.language, context.signal);
      const result = await sandbox.run(
        {
          language: input.language,
          code: input.code,
          files: (input.files ?? []).map(toFile),
          limits: toLimits(input, limits, context.grant),
          onCall: (name, args) => callFromCode(context, name, args),
        },
        context.signal,
      );
      return toOutcome(result, context);
    },
  });
}

function isOnceForCode({ name, maybeOnce }: Tool): boolean {
  return maybeOnce && name !== toolName;
}

/** The smallest of what the config, the call and the grant say. */
function toLimits({ timeoutMs, memoryMb }: Input, most: ExecLimits, grant: Grant): ExecLimits {
  const least = (...amounts: readonly (number | undefined)[]): number => Math.min(...amounts.map((x) => x ?? Infinity));
  return {
    ...most,
    wallMs: least(most.wallMs, timeoutMs, smallest(grant, "wallMs")),
    cpuMs: least(most.cpuMs, timeoutMs, smallest(grant, "cpuMs")),
    memoryBytes: least(
      most.memoryBytes,
      memoryMb === undefined ? undefined : memoryMb * mebibyte,
      smallest(grant, "memoryBytes"),
    ),
  };
}

/** Code mode: the door again, under the grant of this call. What a tool answers as an error, code gets as one. */
async function callFromCode({ call }: CallContext, name: string, args: Json): Promise<Json> {
  const outcome = await call(name, demandObject(name, args));
  if (outcome.type === "waiting") {
    throw new CapstanError("permission.approval_needed", `${name} waits for a person, and code can't wait for one.`);
  }
  const text = (outcome.content ?? [])
    .map((block) => (block.type === "text" ? block.text : `[${block.type}]`))
    .join("\n");
  if (outcome.isError !== true) return outcome.value ?? text;
  throw new CapstanError(toCode(outcome.code), text === "" ? JSON.stringify(outcome.value ?? null) : text);
}

function toCode(code: string | undefined): ErrorCode {
  return code !== undefined && meaningOf(code) !== undefined ? (code as ErrorCode) : "tool.failed";
}

function demandObject(name: string, args: Json): JsonObject {
  if (typeof args === "object" && args !== null && !Array.isArray(args)) return args as JsonObject;
  throw new CapstanError("tool.bad_arguments", `${name} takes one object of named arguments.`);
}

function toFile(file: z.infer<typeof InputFile>): SandboxFile {
  return { path: file.path, bytes: "text" in file ? Buffer.from(file.text) : Buffer.from(file.base64, "base64") };
}

/** What code makes of what its caller had seen is no cleaner than that; what nested calls bring, the door adds. */
function toOutcome(result: ExecResult, { taint }: CallContext): Outcome<Output> {
  const { status, artifacts, usage, isolation, ...rest } = result;
  const value = {
    ...rest,
    status,
    artifacts: artifacts.map(toArtifact),
    usage: { ...usage },
    isolation: { ...isolation },
  };
  const used = { wallMs: Math.ceil(usage.wallMs), cpuMs: Math.ceil(usage.cpuMs) };
  return { type: "done", value: value as Output, taint, usage: used, ...(status === "ok" ? {} : { isError: true }) };
}

function toArtifact({ path, bytes }: SandboxFile): z.infer<typeof Artifact> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const content = isUtf8(buffer) ? { text: buffer.toString("utf8") } : { base64: buffer.toString("base64") };
  return { path, bytes: bytes.byteLength, mimeType: toMediaType(bytes.subarray(0, headBytes)), ...content };
}

function noEngine(language: Language, engines: readonly Engine[]): CapstanError {
  const spoken = engines.flatMap(({ languages }) => languages).join(", ");
  return new CapstanError("sandbox.unavailable", `No sandbox here speaks ${language}. Spoken: ${spoken || "none"}.`);
}

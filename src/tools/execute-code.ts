import { isUtf8 } from "node:buffer";
import { z } from "zod";
import { CapstanError, errorCodes } from "../core/error.ts";
import type { ErrorCode } from "../core/error.ts";
import { IsolationLevel, isolationLevels } from "../core/isolation.ts";
import type { Block } from "../core/event.ts";
import type { Json } from "../core/json.ts";
import { isJsonObject } from "../core/json.ts";
import type { Amounts } from "../core/limits.ts";
import { mergeTaint, trusted } from "../core/taint.ts";
import { headBytes, toMediaType } from "../files/media-type.ts";
import { mayRead } from "../permissions/demand.ts";
import type { Grant } from "../permissions/grant.ts";
import type { Engine, ExecLimits, ExecResult, SandboxFile } from "../sandbox/engine.ts";
import { wrongWithPath } from "../sandbox/guest-path.ts";
import { smallest } from "./amounts.ts";
import type { Artifacts } from "./artifacts.ts";
import { fromZod } from "./schema.ts";
import { questionsInWords } from "./result.ts";
import type { CallContext, Outcome, Tool } from "./tool.ts";
import { defineTool } from "./tool.ts";

const mebibyte = 1024 * 1024;
const maxCodeLength = 256 * 1024;
const maxFiles = 100;
const maxInputBytes = 8 * mebibyte;
/** What the door allows beside the run itself: waiting for a turn, and the start of an engine that was never used. */
const startMs = 30_000;
/** A start that takes longer is told. */
const slowMs = 1_000;
/** Of a run's files this much text stands in the answer; the rest is behind their links. */
const maxInlineBytes = 16 * 1024;
/** Of its pictures this much is shown beside. */
const maxPictureBytes = 1024 * 1024;
const toolName = "execute_code";

const Path = z.string().refine((path) => wrongWithPath(path) === undefined, {
  error: ({ input }) => wrongWithPath(String(input)) ?? "a path is expected",
});
// Defaults are applied in `run`, not by the schema: a grant that names arguments is not tripped by what nobody passed.
const Input = z.strictObject({
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
type Input = z.infer<typeof Input>;

const Output = z.strictObject({
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
type Output = z.infer<typeof Output>;

interface CodeServices {
  readonly engines: readonly Engine[];
  /** The most that a run may use. */
  readonly limits: ExecLimits;
  /** What a grant may call: code reaches it. */
  readonly listed: (grant: Grant) => readonly Tool[];
  readonly artifacts: Artifacts;
}

/** `execute_code`: runs code in a sandbox, which may call tools under a grant derived from its caller's. */
export function executeCodeTool({ engines, limits, listed, artifacts }: CodeServices): Tool {
  const findEngine = openEngineFinder(engines);
  return defineTool<Input, Output>({
    name: toolName,
    title: "Run code in a sandbox",
    description:
      "Runs code without network and without this machine's files. The value of the last expression is the result; " +
      "top-level await works. JavaScript and TypeScript: console, timers, files.list(), files.read(path), " +
      "files.readBytes(path), files.write(path, textOrBytes), await tools.NAME({argument: value}). Python (standard " +
      "library): the files are in /in, what is written to /out comes back, tools.NAME(argument=value). Each run starts anew.",
    input: fromZod(Input),
    output: fromZod(Output),
    hints: { readOnly: false, destructive: false, idempotent: false, openWorld: false },
    // The code itself changes nothing outside. Nested calls that ran before a crash would be made again.
    effect: (_args, grant) =>
      listed(grant).some(({ name, maybeOnce }) => maybeOnce && name !== toolName) ? "once" : "idempotent",
    // The engine is found when the call runs: none weaker than the grant's level, and never one stronger than this.
    needs: ({ language }) => {
      const level = strongest(engines.filter(({ languages }) => languages.includes(language)));
      return level === undefined ? [] : [{ type: "isolation", level }];
    },
    reserve: (args, grant) => toAmounts(grant, toLimits(limits, args, grant)),
    timeoutMs: ({ timeoutMs = Infinity }) => Math.min(timeoutMs, limits.wallMs) + startMs,
    async run(args, context) {
      const { grant, progress, signal } = context;
      // What the code was made of, and what its calls brought in.
      let taint = context.taint;
      const starting = findEngine(args.language, grant.rights.isolation, signal).then((engine) =>
        engine.open({ language: args.language }, signal),
      );
      const slow = { done: 0, message: `Starting ${args.language}. The first time takes a few seconds.` };
      await using sandbox = await whenSlow(starting, () => progress(slow));
      const result = await sandbox.run(
        {
          language: args.language,
          code: args.code,
          files: toFiles(args.files),
          limits: toLimits(limits, args, grant),
          async onCall(name, nested) {
            const outcome = await callTool(context, name, nested);
            taint = mergeTaint(taint, outcome.taint ?? trusted);
            return toNestedValue(outcome);
          },
        },
        signal,
      );
      const files = await keep(result.artifacts, artifacts, { ...context, taint });
      return {
        type: "done",
        value: toOutput(result, files, grant),
        content: [...toPictures(files), ...files.filter(({ uri }) => mayRead(grant, uri)).map(toLink)],
        ...(result.status === "ok" ? {} : { isError: true }),
        taint,
        usage: toAmounts(grant, result.usage),
      };
    },
  });
}

async function whenSlow<T>(work: Promise<T>, tell: () => void): Promise<T> {
  const timer = setTimeout(tell, slowMs);
  return await work.finally(() => clearTimeout(timer));
}

const strengthOf = (level: IsolationLevel): number => isolationLevels.indexOf(level);

function strongest(engines: readonly Engine[]): IsolationLevel | undefined {
  return engines.map(({ level }) => level).sort((a, b) => strengthOf(b) - strengthOf(a))[0];
}

/** Finds the first engine that speaks a language at a level or a stronger one, and works here; each is tried before its first use. */
function openEngineFinder(engines: readonly Engine[]) {
  const working = new Set<Engine>();
  return async (language: Input["language"], weakest: IsolationLevel, signal: AbortSignal): Promise<Engine> => {
    const problems: string[] = [];
    for (const engine of engines) {
      if (!engine.languages.includes(language) || strengthOf(engine.level) < strengthOf(weakest)) continue;
      const problem = working.has(engine) ? null : await engine.probe(signal);
      if (problem === null) {
        working.add(engine);
        return engine;
      }
      problems.push(`${engine.name}: ${problem.reason}. ${problem.remedy}`);
    }
    throw new CapstanError(
      "sandbox.unavailable",
      problems.length > 0
        ? `Nothing here runs ${language} now. ${problems.join(" ")}`
        : `No engine runs ${language} at isolation ${weakest} or stronger. See capstan doctor for what to install.`,
    );
  };
}

/** The smallest of what is configured, what the call asks for, and what the grant and its ancestors allow. */
function toLimits(most: ExecLimits, { timeoutMs, memoryMb }: Input, grant: Grant): ExecLimits {
  const least = (...amounts: readonly (number | undefined)[]): number =>
    Math.max(1, Math.min(...amounts.map((amount) => amount ?? Infinity)));
  return {
    ...most,
    wallMs: least(most.wallMs, timeoutMs, smallest(grant, "wallMs")),
    cpuMs: least(most.cpuMs, smallest(grant, "cpuMs")),
    memoryBytes: least(
      most.memoryBytes,
      memoryMb === undefined ? undefined : memoryMb * mebibyte,
      smallest(grant, "memoryBytes"),
    ),
  };
}

/** Of the time that a run may take or took, what the grant counts. */
function toAmounts(grant: Grant, { wallMs, cpuMs }: { readonly wallMs: number; readonly cpuMs: number }): Amounts {
  return {
    ...(smallest(grant, "wallMs") === undefined ? {} : { wallMs }),
    ...(smallest(grant, "cpuMs") === undefined ? {} : { cpuMs }),
  };
}

function toFiles(given: Input["files"] = []): readonly SandboxFile[] {
  const files = given.map((file) => ({
    path: file.path,
    bytes: "text" in file ? Buffer.from(file.text) : Buffer.from(file.base64, "base64"),
  }));
  const bytes = files.reduce((sum, file) => sum + file.bytes.length, 0);
  if (bytes > maxInputBytes) {
    throw new CapstanError(
      "sandbox.bad_request",
      `The files have ${bytes} bytes, more than the ${maxInputBytes} that a run takes.`,
    );
  }
  const [twice] = files.filter(({ path }, index) => files.findIndex((file) => file.path === path) < index);
  if (twice !== undefined)
    throw new CapstanError("sandbox.bad_request", `Two files are called ${twice.path}. Rename one.`);
  return files;
}

/** A file that came out, kept. */
interface KeptFile extends SandboxFile {
  readonly mimeType: string;
  readonly uri: string;
}

async function keep(
  files: readonly SandboxFile[],
  artifacts: Artifacts,
  { scope, principal, grant, taint, callId }: CallContext,
): Promise<readonly KeptFile[]> {
  const kept: KeptFile[] = [];
  for (const { path, bytes } of files) {
    const mimeType = toMediaType(bytes.subarray(0, headBytes));
    const { uri } = await artifacts.save({ scope, principal, grant, taint, callId, name: path, mimeType, bytes });
    kept.push({ path, bytes, mimeType, uri });
  }
  return kept;
}

/** Whoever may not read the resources gets all that is in them here. */
function toOutput({ outputCut, ...result }: ExecResult, files: readonly KeptFile[], grant: Grant): Output {
  const linked = files.filter(({ uri }) => mayRead(grant, uri));
  const left = new Set(linked).difference(new Set(thatFit(linked, maxInlineBytes)));
  return {
    ...result,
    ...(outputCut ? { outputCut } : {}),
    artifacts: files.map((file) => ({
      path: file.path,
      bytes: file.bytes.length,
      mimeType: file.mimeType,
      uri: file.uri,
      ...(left.has(file) ? {} : toInline(file.bytes)),
    })),
  };
}

const toInline = (bytes: Uint8Array): { readonly text: string } | { readonly base64: string } =>
  isUtf8(bytes) ? { text: Buffer.from(bytes).toString() } : { base64: toBase64(bytes) };

const toBase64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

/** Of the files those that have room in an answer, in their order. */
function thatFit(files: readonly KeptFile[], maxBytes: number): readonly KeptFile[] {
  let room = maxBytes;
  return files.filter(({ bytes }) => {
    if (bytes.length > room) return false;
    room -= bytes.length;
    return true;
  });
}

/** The pictures, for models that see. */
function toPictures(files: readonly KeptFile[]): readonly Block[] {
  const pictures = files.filter(({ mimeType }) => /^image\/(?:png|jpeg|gif|webp)$/.test(mimeType));
  return thatFit(pictures, maxPictureBytes).map(({ mimeType, bytes }) => ({
    type: "image",
    mimeType,
    data: toBase64(bytes),
  }));
}

const toLink = ({ uri, path, mimeType, bytes }: KeptFile): Block => ({
  type: "resource_link",
  uri,
  name: path,
  mimeType,
  bytes: bytes.length,
});

/** A call from the code, through the door. */
async function callTool({ call }: CallContext, name: string, args: Json): Promise<Done> {
  if (!isJsonObject(args)) {
    throw new CapstanError(
      "tool.bad_arguments",
      `${name} takes its arguments by name: tools.${name}({argument: value}).`,
    );
  }
  const outcome = await call(name, args);
  if (outcome.type === "done") return outcome;
  const questions = questionsInWords(outcome.requests);
  throw new CapstanError("tool.input_needed", `${name} waits for an answer, which code can't: ${questions}`);
}

type Done = Extract<Outcome, { type: "done" }>;

/** What the code gets is the tool's value; a failure is thrown, with its code. */
function toNestedValue({ value, content = [], isError, code = "tool.failed" }: Done): Json {
  const text = content.map((block) => (block.type === "text" ? block.text : `[${block.type}]`)).join("\n");
  if (isError !== true) return value ?? text;
  const said = text === "" ? JSON.stringify(value ?? null) : text;
  const known = isErrorCode(code) ? code : "tool.failed";
  throw new CapstanError(known, said.startsWith(`${known}: `) ? said.slice(known.length + 2) : said);
}

const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorCodes, code);

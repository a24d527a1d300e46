import type { Grant } from "../permissions/grant.ts";
import type { Engine, ExecLimits } from "../sandbox/engine.ts";
import type { Artifacts } from "./artifacts.ts";
import { openEngineFinder, strongest } from "./execute-code/engine.ts";
import { toFiles } from "./execute-code/inputs.ts";
import { toAmounts, toLimits } from "./execute-code/limits.ts";
import { openCodeCalls } from "./execute-code/nested.ts";
import { keep, toContent, toOutput } from "./execute-code/outputs.ts";
import { Input, Output } from "./execute-code/schema.ts";
import { fromZod } from "./schema.ts";
import type { Tool } from "./tool.ts";
import { defineTool } from "./tool.ts";

/** What the door allows beside the run itself: waiting for a turn, and the start of an engine that was never used. */
const startMs = 30_000;
/** A start that takes longer is told. */
const slowMs = 1_000;
const toolName = "execute_code";

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
    nestedCalls: limits.calls,
    timeoutMs: ({ timeoutMs = Infinity }) => Math.min(timeoutMs, limits.wallMs) + startMs,
    async run(args, context) {
      const { grant, progress, signal } = context;
      const starting = findEngine(args.language, grant.rights.isolation, signal).then((engine) =>
        engine.open({ language: args.language }, signal),
      );
      const slow = { done: 0, message: `Starting ${args.language}. The first time takes a few seconds.` };
      await using sandbox = await whenSlow(starting, () => progress(slow));
      using calls = openCodeCalls(context);
      const result = await sandbox.run(
        {
          language: args.language,
          code: args.code,
          files: toFiles(args.files),
          limits: toLimits(limits, args, grant),
          onCall: calls.onCall,
        },
        signal,
      );
      calls[Symbol.dispose]();
      const taint = calls.taint();
      const files = await keep(result.artifacts, artifacts, { ...context, taint });
      return {
        type: "done",
        value: toOutput(result, files, grant),
        content: toContent(files, grant),
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

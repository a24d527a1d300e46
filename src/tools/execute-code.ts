import { mergeTaint } from "../core/taint.ts";
import type { Grant } from "../permissions/grant.ts";
import type { FolderId } from "../permissions/safe-path.ts";
import type { Engine, ExecLimits } from "../sandbox/engine.ts";
import { installedEngines } from "../sandbox/offer.ts";
import type { Artifacts } from "./artifacts.ts";
import { abridge } from "./execute-code/abridge.ts";
import { openFirst, strongest } from "./execute-code/engine.ts";
import { defaultInputBytes, inputNeeds, readInputs } from "./execute-code/inputs.ts";
import { explainEnd, settlingUnused, toAmounts, toLimits } from "./execute-code/limits.ts";
import { openCodeNetwork } from "./execute-code/network.ts";
import { openCodeCalls } from "./execute-code/nested.ts";
import { keep, toContent, toOutput } from "./execute-code/outputs.ts";
import { openPlace } from "./execute-code/place.ts";
import { type Input, Output, toDescription, toInput } from "./execute-code/schema.ts";
import type { Resolve } from "./egress.ts";
import { toFailure } from "./result.ts";
import { fromZod } from "./schema.ts";
import type { Sessions } from "./sessions.ts";
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
  readonly sessions: Sessions;
  /** A folder that no input file comes from; missing: none. */
  readonly hidden?: FolderId;
  /** All input files of a run together; missing: 64 MiB. */
  readonly inputBytes?: number;
  /** Finds the addresses of hosts; missing: as the machine does. */
  readonly resolve?: Resolve;
}

/** `execute_code`: runs code in a sandbox, which may call tools under a grant derived from its caller's. */
export function executeCodeTool(services: CodeServices): Tool {
  const { engines, limits, listed, artifacts, sessions, hidden, inputBytes = defaultInputBytes, resolve } = services;
  // What is installed later can run what the others speak too: each is tried when a call comes.
  const installed = installedEngines(engines);
  return defineTool<Input, Output>({
    name: toolName,
    title: "Run code in a sandbox",
    description: toDescription(installed),
    input: fromZod(toInput(installed)),
    output: fromZod(Output),
    hints: {
      readOnly: false,
      destructive: false,
      idempotent: false,
      openWorld: installed.some(({ can }) => can.network),
    },
    isSink: ({ network = false }) => network,
    // The code itself changes nothing outside but its session, and what it sends. Nested calls that ran before a crash would be made again.
    effect: ({ session, network = false }, grant) =>
      session !== undefined || network || listed(grant).some(({ name, maybeOnce }) => maybeOnce && name !== toolName)
        ? "once"
        : "idempotent",
    // The engine is found when the call runs: none weaker than the grant's level, and never one stronger than this.
    needs: ({ language, files, session, network: isNetworked = false }) => {
      const level = strongest(engines, { language, isSession: session !== undefined, isNetworked });
      return [
        ...(level === undefined ? [] : [{ type: "isolation" as const, level }]),
        ...(session === undefined ? [] : [{ type: "session" as const, name: session }]),
        ...(isNetworked ? [{ type: "net" as const }] : []),
        ...inputNeeds(files),
      ];
    },
    reserve: (args, grant) => toAmounts(grant, toLimits(limits, args, grant)),
    nestedCalls: limits.calls,
    timeoutMs: ({ timeoutMs = Infinity }) => Math.min(timeoutMs, limits.wallMs) + startMs,
    abridge,
    run: settlingUnused<Input, Output>(async (args, context, begin) => {
      const { grant, progress, signal } = context;
      const isNetworked = args.network ?? false;
      const isSession = args.session !== undefined;
      await using network = isNetworked
        ? openCodeNetwork(context, { tool: toolName, seen: () => calls, resolve })
        : null;
      const spec = { language: args.language, isSession, isNetworked };
      const inputs = await readInputs(args.files, { artifacts, hidden, maxBytes: inputBytes }, context);
      if ("failure" in inputs) return toFailure(inputs.failure, mergeTaint(context.taint, inputs.taint));
      const slow = { done: 0, message: `Starting ${args.language}. The first time takes a few seconds.` };
      const open = async () => {
        const opening = openFirst(engines, spec, grant.rights.isolation, signal);
        return await whenSlow(opening, () => progress(slow));
      };
      await using place = await openPlace(args, context, sessions, open);
      const ownLimits = toLimits(limits, args, grant, context.reserved);
      const taint = mergeTaint(context.taint, inputs.taint, place.taint);
      using calls = openCodeCalls({ ...context, taint }, ownLimits.calls);
      begin();
      const { result, session } = await place.run(
        {
          language: args.language,
          code: args.code,
          files: inputs.files,
          limits: ownLimits,
          onCall: calls.onCall,
          ...network?.way,
        },
        calls.taint,
        signal,
      );
      calls[Symbol.dispose]();
      const seen = calls.taint();
      const files = await keep(result.artifacts, artifacts, { ...context, taint: seen });
      return {
        type: "done",
        value: {
          ...toOutput(explainEnd(calls.judge(network?.explain(result) ?? result), ownLimits, limits), files, grant),
          ...(session === undefined ? {} : { session }),
        },
        content: toContent(files, grant),
        ...(result.status === "ok" ? {} : { isError: true }),
        taint: seen,
        usage: toAmounts(grant, result.usage),
      };
    }),
  });
}

async function whenSlow<T>(work: Promise<T>, tell: () => void): Promise<T> {
  const timer = setTimeout(tell, slowMs);
  return await work.finally(() => clearTimeout(timer));
}

import { z } from "zod";
import { toResultBytes } from "../../core/context.ts";
import { CapstanError } from "../../core/error.ts";
import type { Block, ModelTool, ToolOutcome } from "../../core/event.ts";
import { readResultName, toResultText } from "../../core/result-text.ts";
import type { Run } from "../../core/run.ts";
import type { Command } from "../decide.ts";
import { toErrorOutcome } from "../decide.ts";
import { lineage } from "../lineage.ts";
import type { Work } from "../world.ts";

const Input = z.strictObject({
  call: z.string().max(64).describe("The id of the call, as the cut result says it."),
  from: z.int().min(0).default(0).describe("The first character to show."),
  image: z.int().min(1).optional().describe("Shows this image of the result instead of its text."),
});

/**
 * The tool by which a model reads on in a result that was cut. It is offered from the first cut on, whatever the grant, and comes to no
 * door: all that it shows is what the same run has been given before, from its own log.
 */
const readResultTool: ModelTool = {
  name: readResultName,
  description: "Reads on in a result of an earlier call that was cut, which says the arguments for it.",
  inputSchema: toInputSchema(),
};

/** The tools that a model is offered: those of its grant, and where something was cut, the one that reads on, in place of any of its name. */
export function withReadResult({ context }: Run, tools: readonly ModelTool[]): readonly ModelTool[] {
  if (!context.hasCuts) return tools;
  return [...tools.filter(({ name }) => name !== readResultName), readResultTool];
}

/** Reads on in a result of the run, and records what was read as the end of the call. */
export async function readResult({ id, args }: Command & { type: "read_result" }, { world, log }: Work): Promise<void> {
  const run = log.run();
  const parsed = Input.safeParse(args);
  const outcome = parsed.success
    ? await read(parsed.data, run, world.store)
    : failure(`expected {"call":"call_…","from":0}, got ${JSON.stringify(args).slice(0, 200)}`);
  // It comes from what the run has seen, and adds nothing to it.
  await log.record([{ type: "tool.finished", callId: id, outcome, taint: [...run.taint] }]);
}

async function read(
  { call, from, image }: z.infer<typeof Input>,
  run: Run,
  store: Work["world"]["store"],
): Promise<ToolOutcome> {
  for await (const event of lineage(store, run.scope, run.runId)) {
    if (event.type !== "tool.finished" || event.callId !== call) continue;
    return image === undefined ? toPiece(event.outcome, from, run) : toImage(event.outcome, image);
  }
  return failure(`this run has no result of ${call}. Take the id that stands in the cut result`);
}

/** As much of the text as has room beside the sentence about it. */
function toPiece(outcome: ToolOutcome, from: number, run: Run): ToolOutcome {
  const text = toResultText(outcome);
  if (from >= text.length) return failure(`the result has ${text.length} characters, and "from" is ${from}`);
  const room = toResultBytes(run, run.calls.size) - noteBytes;
  const bytes = Buffer.from(text.slice(from));
  const piece =
    bytes.length <= room ? bytes.toString() : new TextDecoder().decode(bytes.subarray(0, room), { stream: true });
  const to = from + piece.length;
  const next = to < text.length ? `Read on with "from":${to}.` : "That is its end.";
  return shows([{ type: "text", text: `${piece}\n[characters ${from} to ${to} of ${text.length}. ${next}]` }]);
}

/** What the sentence about a piece may take. */
const noteBytes = 120;

function toImage({ content = [] }: ToolOutcome, image: number): ToolOutcome {
  const images = content.filter((block) => block.type === "image");
  const shown = images[image - 1];
  return shown === undefined ? failure(`the result has ${images.length} images`) : shows([shown]);
}

const shows = (content: Block[]): ToolOutcome => ({ content, isError: false });

function failure(why: string): ToolOutcome {
  return toErrorOutcome(new CapstanError("tool.bad_arguments", `${readResultName} can't read that: ${why}.`));
}

function toInputSchema(): ModelTool["inputSchema"] {
  const { $schema: _, ...schema } = z.toJSONSchema(Input, { io: "input" });
  return z.record(z.string(), z.json()).parse(schema);
}

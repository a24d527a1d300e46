import { z } from "zod";
import type { Language } from "../engine.ts";

/**
 * What the parent orders: one JSON line on the control pipe, and behind it the bytes of `files` and `outFiles`, as they are. A child answers one order after the other, of which only those of a session
 * get more than one; what it is told of memory and counts of prints go on from the first.
 */
export interface Order {
  /** Repeated by every frame of this run, so that a line that merely looks like a frame is none. */
  readonly nonce: string;
  readonly language: Language;
  readonly code: string;
  readonly files: readonly OrderFile[];
  /** What is to stand in the output folder, beside what earlier orders left there. */
  readonly outFiles: readonly OrderFile[];
  /** Whether the guest may call tools. */
  readonly tools: boolean;
  /** By how much the interpreter's memory may grow beyond what it was at the first order. */
  readonly memoryBytes: number;
  readonly resultBytes: number;
  readonly artifactBytes: number;
  readonly artifacts: number;
}

interface OrderFile {
  readonly path: string;
  /** How many. */
  readonly bytes: number;
}

/** The answer to a call, one JSON line: on the control pipe when the guest blocks for it, else on the answers pipe. */
export type Answer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: { readonly code: string; readonly message: string } };

const nonce = z.string();

/**
 * What a child says, one JSON line each on the control pipe. The guest may have taken the child over: the parent believes nothing here
 * but its form. Values of the guest stay JSON text, so that their size and depth are checked before they are parsed.
 */
export const Frame = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("ready") }),
  z.strictObject({
    type: z.literal("call"),
    nonce,
    id: z.int(),
    name: z.string().max(256),
    argsJson: z.string(),
    /** True: the interpreter stands still until the answer is there. */
    blocking: z.boolean(),
  }),
  z.strictObject({ type: z.literal("artifact"), nonce, path: z.string(), data: z.string() }),
  z.strictObject({
    type: z.literal("done"),
    nonce,
    status: z.enum(["ok", "error", "memory", "output", "crashed"]),
    resultJson: z.string(),
    note: z.string().max(4096).optional(),
    error: z.string().max(65_536).optional(),
    /** Something stayed in the output folder, which `note` tells. */
    artifactsCut: z.literal(true).optional(),
    /** How much was printed since the child started, so that the parent knows when it has read it all. */
    stdoutBytes: z.int().min(0),
    stderrBytes: z.int().min(0),
  }),
]);
export type Frame = z.infer<typeof Frame>;

/** The descriptors of a process on this machine. Prints of the guest and messages of the runtime never share one with frames. */
export const pipes = { stdout: 1, diagnostics: 2, control: 3, answers: 4, stderr: 5, lifeline: 6 } as const;

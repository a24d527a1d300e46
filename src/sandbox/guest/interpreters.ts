import type { Language } from "../engine.ts";
import { nodeProgram } from "./node.ts";
import { pythonProgram } from "./python.ts";

/** What runs code on a machine of its own, or in an image. */
export type Interpreter = "python" | "node";

/** Which one runs a language; bash is kept by Python. */
export const interpreterOf: Readonly<Record<Language, Interpreter>> = {
  python: "python",
  bash: "python",
  javascript: "node",
  typescript: "node",
};

/** The command that runs a program of ours in Python, with nothing of the user's. */
export const toPython = (program: string): readonly string[] => ["python3", "-I", "-X", "utf8", "-c", program];

/** The command that runs a program of ours in the Node at `node`. */
export function toNode(node: string, program: string, options: readonly string[] = []): readonly string[] {
  return [node, "--no-warnings", ...options, "-e", program];
}

/** The command of a guest that takes orders; `options` are for Node. */
export function toRunner(interpreter: Interpreter, node: string, options?: readonly string[]): readonly string[] {
  return interpreter === "python" ? toPython(pythonProgram) : toNode(node, nodeProgram, options);
}

/** What guests find in their environment. Libraries for numbers would start a thread for each processor, with memory for each. */
export const toEnvironment = (threads: number): Readonly<Record<string, string>> => ({
  ...{ HOME: "/tmp", TMPDIR: "/tmp", LANG: "C.UTF-8" },
  ...{ OMP_NUM_THREADS: `${threads}`, OPENBLAS_NUM_THREADS: `${threads}`, MPLCONFIGDIR: "/tmp", MPLBACKEND: "agg" },
});

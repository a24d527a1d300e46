import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { App } from "../src/app.ts";
import { callDoor, toBenchGrant } from "./home.ts";
import { cpuMicros, median, wallMs } from "./measure.ts";

/** What `execute_code` is given, and what its result must be. */
export interface Snippet {
  readonly language: "javascript" | "python";
  readonly code: string;
  readonly result: number;
}

/** What every engine and peer of a language runs. */
export const javascript: Snippet = {
  language: "javascript",
  code: "[1, 2, 3].map((n) => n * 2).reduce((a, b) => a + b)",
  result: 12,
};
export const python: Snippet = { language: "python", code: "sum(n * 2 for n in [1, 2, 3])", result: 12 };
/** The same as programs of their own: the arguments of an interpreter. */
export const programs = {
  python: ["-I", "-c", `print(${python.code})`],
  javascript: ["-e", `console.log(${javascript.code})`],
} as const;

/** One run through the door, in a grant of its own that also allows `echo`. */
export async function execute(app: App, { language, code, result }: Snippet): Promise<void> {
  const value = await executeAny(app, { language, code });
  if (value !== result) throw new Error(`The sandbox answered something else: ${JSON.stringify(value)}`);
}

/** The result of code whose result is not known ahead. */
export async function executeAny(app: App, args: Pick<Snippet, "language" | "code">): Promise<unknown> {
  const grant = toBenchGrant(app, ["execute_code", "echo"]);
  const { outcome } = await callDoor(app, grant, "execute_code", args);
  const value: unknown = outcome.type === "done" && outcome.isError !== true ? outcome.value : undefined;
  if (typeof value === "object" && value !== null && "result" in value) return value.result;
  throw new Error(`The sandbox failed: ${JSON.stringify(outcome)}`);
}

/** Runs a program of a peer that prints the result. */
export async function runProgram(program: string, args: readonly string[]): Promise<void> {
  const { stdout } = await promisify(execFile)(program, args);
  if (stdout.trim() !== String(python.result)) throw new Error(`${program} answered something else: ${stdout}`);
}

/** The median time of so many runs, one after the other, in ms. */
export async function runMany(count: number, run: () => Promise<void>): Promise<number> {
  const times: number[] = [];
  for (let index = 0; index < count; index += 1) times.push(await wallMs(run));
  return median(times);
}

/** Runs a second, so many at a time. */
export async function runsPerSecond(count: number, atATime: number, run: () => Promise<void>): Promise<number> {
  return (count / (await wallMs(() => runTogether(count, atATime, run)))) * 1_000;
}

/** What one of them costs, in all threads of this process. */
export async function cpuMsPerRun(count: number, atATime: number, run: () => Promise<void>): Promise<number> {
  return (await cpuMicros(count, () => runTogether(count, atATime, run))) / 1_000;
}

async function runTogether(count: number, atATime: number, run: () => Promise<void>): Promise<void> {
  let left = count;
  const oneAfterAnother = async (): Promise<void> => {
    for (; left > 0;) {
      left -= 1;
      await run();
    }
  };
  await Promise.all(Array.from({ length: atATime }, oneAfterAnother));
}

/** Says on stderr what is not measured, and why. */
export function leaveOut(what: string, why: string): void {
  process.stderr.write(`sandbox: ${what} is left out: ${why}\n`);
}

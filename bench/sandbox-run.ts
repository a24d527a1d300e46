import type { App } from "../src/app.ts";
import { callDoor, toBenchGrant } from "./home.ts";
import { median, wallMs } from "./measure.ts";

/** What `execute_code` is given, and what its result must be. */
export interface Snippet {
  readonly language: "javascript" | "python";
  readonly code: string;
  readonly result: number;
}

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

/** The median time of so many runs, one after the other, in ms. */
export async function runMany(count: number, run: () => Promise<void>): Promise<number> {
  const times: number[] = [];
  for (let index = 0; index < count; index += 1) times.push(await wallMs(run));
  return median(times);
}

/** Runs a second, so many at a time. */
export async function runsPerSecond(count: number, atATime: number, run: () => Promise<void>): Promise<number> {
  let left = count;
  const oneAfterAnother = async (): Promise<void> => {
    for (; left > 0;) {
      left -= 1;
      await run();
    }
  };
  const ms = await wallMs(async () => {
    await Promise.all(Array.from({ length: atATime }, oneAfterAnother));
  });
  return (count / ms) * 1_000;
}

/** Microseconds a call of code that makes `calls` of them and gives how many ms they took. */
export async function nestedMicros(app: App, args: Pick<Snippet, "language" | "code">, calls: number): Promise<number> {
  const ms = await executeAny(app, args);
  if (typeof ms !== "number") throw new Error("The code measured no time.");
  return (ms * 1_000) / calls;
}

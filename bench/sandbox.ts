import type { Figure } from "./measure.ts";
import { benchNested } from "./sandbox-calls.ts";
import { benchContainers } from "./sandbox-docker.ts";
import { benchJavascript } from "./sandbox-javascript.ts";
import { benchMemory } from "./sandbox-memory.ts";
import { benchProcesses, probeBubblewrap } from "./sandbox-process.ts";
import { benchPython } from "./sandbox-python.ts";

/** Single-use runs, from the call at the door to the result, charged and on record, the calls of tools that code makes, and what waits. */
export async function* benchSandbox(): AsyncGenerator<Figure> {
  const hasBubblewrap = await probeBubblewrap();
  // First, while this process is small: to start another one takes the longer the more memory it has.
  if (hasBubblewrap) yield* benchProcesses();
  yield* benchJavascript();
  yield* benchPython();
  yield* benchContainers();
  yield* benchNested();
  yield* benchMemory(hasBubblewrap);
}

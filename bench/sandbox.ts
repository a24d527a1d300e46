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
  yield* benchJavascript();
  yield* benchPython();
  if (hasBubblewrap) yield* benchProcesses();
  yield* benchContainers();
  yield* benchNested();
  yield* benchMemory(hasBubblewrap);
}

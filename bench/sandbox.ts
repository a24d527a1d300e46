import type { Figure } from "./measure.ts";
import { benchNested } from "./sandbox-calls.ts";
import { benchContainers } from "./sandbox-docker.ts";
import { benchJavascript } from "./sandbox-javascript.ts";
import { benchProcesses } from "./sandbox-process.ts";
import { benchPython } from "./sandbox-python.ts";

/** Single-use runs, from the call at the door to the result, charged and on record, and the calls of tools that code makes. */
export async function* benchSandbox(): AsyncGenerator<Figure> {
  yield* benchJavascript();
  yield* benchPython();
  yield* benchProcesses();
  yield* benchContainers();
  yield* benchNested();
}

import type { HostileCase } from "./case.ts";
import { channels } from "./channels.ts";
import { files } from "./files.ts";
import { memory } from "./memory.ts";
import { network } from "./network.ts";
import { objects } from "./objects.ts";
import { processes } from "./processes.ts";
import { pyodideObjects } from "./pyodide-objects.ts";
import { results } from "./results.ts";
import { state } from "./state.ts";
import { time } from "./time.ts";
import { tools } from "./tools.ts";

/** Every attack, class by class. A new one is one entry in the table of its class. */
export const hostileCases: readonly HostileCase[] = [
  ...objects,
  ...pyodideObjects,
  ...files,
  ...network,
  ...time,
  ...memory,
  ...processes,
  ...channels,
  ...results,
  ...state,
  ...tools,
];

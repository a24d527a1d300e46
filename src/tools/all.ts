import type { Clock } from "../core/clock.ts";
import type { Graphs } from "../knowledge/graphs.ts";
import type { Grant } from "../permissions/grant.ts";
import type { FolderId } from "../permissions/safe-path.ts";
import { type SandboxConfig, toExecLimits, toInputBytes } from "../sandbox/config.ts";
import type { Engine } from "../sandbox/engine.ts";
import { offeredEngines } from "../sandbox/offer.ts";
import type { Store } from "../store/store.ts";
import type { Artifacts } from "./artifacts.ts";
import { calculatorTool } from "./calculator.ts";
import { describeToolTool } from "./describe-tool.ts";
import { executeCodeTool } from "./execute-code.ts";
import { fsListTool } from "./fs-list.ts";
import { fsStatTool } from "./fs-stat.ts";
import { kgAddFactsTool } from "./kg-add-facts.ts";
import { kgSearchTool } from "./kg-search.ts";
import { searchToolsTool } from "./search-tools.ts";
import { sessionTools } from "./session.ts";
import type { Sessions } from "./sessions.ts";
import { todoTools } from "./todo.ts";
import type { Tool } from "./tool.ts";

export interface ToolServices {
  readonly store: Store;
  readonly graphs: Graphs;
  readonly engines: readonly Engine[];
  readonly sandbox: SandboxConfig;
  readonly clock: Clock;
  readonly artifacts: Artifacts;
  readonly sessions: Sessions;
  /** The home: no file tool enters it, whatever is granted. */
  readonly hidden: FolderId;
  /** What a grant may call, once the door is open: code can reach that, a search finds it. */
  readonly listed: (grant: Grant) => readonly Tool[];
}

/** The built-in tools. A new one is one file and one line here. */
export function builtinTools(services: ToolServices): readonly Tool[] {
  const { store, graphs, engines, sandbox, clock, artifacts, sessions, hidden, listed } = services;
  return [
    calculatorTool(),
    describeToolTool({ listed }),
    executeCodeTool({
      engines: offeredEngines(engines, sandbox),
      limits: toExecLimits(sandbox),
      inputBytes: toInputBytes(sandbox),
      listed,
      artifacts,
      sessions,
      hidden,
    }),
    fsListTool(hidden),
    fsStatTool(hidden),
    kgAddFactsTool({ graphs }),
    kgSearchTool({ graphs }),
    searchToolsTool({ listed }),
    ...sessionTools(sessions),
    ...todoTools({ store, clock }),
  ];
}

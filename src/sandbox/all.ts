import { openBubblewrapEngine } from "./bubblewrap.ts";
import { type SandboxConfig, toExecLimits } from "./config.ts";
import { openDockerEngine } from "./docker.ts";
import type { Engine } from "./engine.ts";
import { openPyodideEngine } from "./pyodide.ts";
import { openQuickjsEngine } from "./quickjs.ts";

/**
 * Every engine, in the order in which a language is offered to them. Nothing starts before the first run. `cacheDir` receives what
 * can be made again. A new engine is one file and one line here.
 */
export function openEngines(options: { readonly cacheDir: string; readonly config: SandboxConfig }): readonly Engine[] {
  const { cacheDir, config } = options;
  return [
    openQuickjsEngine({ workers: config.workers }),
    openPyodideEngine({
      cacheDir,
      warm: config.warmPython,
      bubblewrap: config.bubblewrap,
      ...(config.wheels === undefined ? {} : { wheels: config.wheels }),
    }),
    openBubblewrapEngine({ warm: config.warmBubblewrap }),
    openDockerEngine({ cacheDir, memoryBytes: toExecLimits(config).memoryBytes, ...config.docker }),
  ];
}

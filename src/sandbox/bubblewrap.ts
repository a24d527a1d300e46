import { existsSync } from "node:fs";
import { CapstanError, toCapstanError } from "../core/error.ts";
import { folders, guestUid, launch } from "./bubblewrap/launch.ts";
import { openTreeMeter } from "./bubblewrap/meter.ts";
import { systemCallFilter } from "./bubblewrap/seccomp.ts";
import { demandAble, type Engine, type Isolation } from "./engine.ts";
import type { Interpreter } from "./guest/interpreters.ts";
import { openSandboxes } from "./process/sandboxes.ts";
import { type LocalGuest, startGuest } from "./process/start.ts";

const isolation: Isolation = { engine: "bubblewrap", level: "os-sandbox", network: "network namespace (bubblewrap)" };
/** Where bubblewrap is looked for: it is started without an environment, and so without a PATH of the user's. */
const programs = ["/usr/bin/bwrap", "/bin/bwrap"];
/** The shortest run is over by then. To boot takes the processor for less than the next run would wait for it. */
const refillDelayMs = 5;

/**
 * The machine's own Python, Node and bash inside bubblewrap, read-only, without a network, behind a filter for system calls. Linux alone has
 * it. `warm` (default 1) of each interpreter are kept ready once it was used, of some 15 MB (Python) and 45 MB (Node); 0 keeps none.
 */
export function openBubblewrapEngine(options: { readonly warm?: number } = {}): Engine {
  const { warm = 1 } = options;

  async function boot(interpreter: Interpreter, signal: AbortSignal, socketPath?: string): Promise<LocalGuest> {
    const filter = process.platform === "linux" ? systemCallFilter(process.arch) : undefined;
    if (filter === undefined) {
      throw notHere(`It needs Linux on x64 or arm64, and this is ${process.platform} on ${process.arch}.`);
    }
    const started = await startGuest(
      () => launch(interpreter, filter, socketPath),
      "bubblewrap",
      signal,
      (pid) => openTreeMeter(pid, Object.keys(folders)),
    );
    if ("guest" in started) return started.guest;
    throw notHere(`${started.noBubblewrap}.`);
  }
  const sandboxes = openSandboxes({ isolation, warm, refillDelayMs, guestUid }, boot);

  const engine: Engine = {
    name: isolation.engine,
    level: isolation.level,
    languages: ["python", "javascript", "typescript", "bash"],
    packages: ["this machine's packages"],
    can: { sessions: true, network: true },
    isInstalled: () => process.platform === "linux" && programs.some((path) => existsSync(path)),

    async probe(signal) {
      const problems: string[] = [];
      for (const language of ["javascript", "python"] as const) {
        try {
          await using _ = await engine.open({ language }, signal);
          return null;
        } catch (thrown) {
          signal.throwIfAborted();
          const { message, cause } = toCapstanError(thrown);
          problems.push(cause instanceof Error ? `${message} ${cause.message.slice(0, 300)}` : message);
        }
      }
      return {
        reason: [...new Set(problems)].join(" "),
        remedy:
          "Install bubblewrap 0.8 or newer and python3 (apt-get install bubblewrap python3), and let users make namespaces: " +
          "sysctl kernel.unprivileged_userns_clone=1, or an AppArmor profile for bwrap.",
      };
    },

    async open(spec, signal) {
      demandAble(engine, spec);
      return await sandboxes.open(spec, signal);
    },

    [Symbol.asyncDispose]: () => sandboxes[Symbol.asyncDispose](),
  };
  return engine;
}

function notHere(why: string): CapstanError {
  return new CapstanError("sandbox.unavailable", `Bubblewrap starts no sandbox here: ${why} See \`capstan doctor\`.`);
}

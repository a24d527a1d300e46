import { CapstanError, toCapstanError } from "../core/error.ts";
import { demandAble, type Engine, type Isolation } from "./engine.ts";
import { openPool } from "./process/pool.ts";
import { toSandbox } from "./process/sandbox.ts";
import { type Confinement, type LocalGuest, startGuest } from "./process/start.ts";
import { launch } from "./pyodide/launch.ts";
import { preparePython, type PythonFiles } from "./pyodide/prepare.ts";

const name = "pyodide";
const level = "wasm-in-child";
/** Interpreters that may be taken at a time, each of some 170 MB. */
const maxTaken = 16;
const networks: Readonly<Record<Confinement, string>> = {
  bubblewrap: "network namespace (bubblewrap)",
  plain: "stubs in the child only",
};

/**
 * Python: Pyodide in a process of its own for each run or session, sealed, and inside bubblewrap where that works. `cacheDir` receives what the
 * processes start from; it must belong to this user alone. `warm` (default 1) is how many interpreters are kept ready once Python was
 * used; 0 keeps none. `bubblewrap: "never"` does without it, and then only stubs in the process deny the network; "auto" is the default.
 */
export function openPyodideEngine(options: {
  readonly cacheDir: string;
  readonly warm?: number;
  readonly bubblewrap?: "auto" | "never";
}): Engine {
  const { cacheDir, warm = 1, bubblewrap = "auto" } = options;
  const closing = new AbortController();
  const pool = openPool({ warm, maxTaken }, boot);
  let files: Promise<PythonFiles> | undefined;
  // Unknown until the first interpreter has booted: whether bubblewrap works is found out by using it.
  let confinement: Confinement | undefined =
    bubblewrap === "never" || process.platform !== "linux" ? "plain" : undefined;

  async function boot(signal: AbortSignal): Promise<LocalGuest> {
    const start = (from: PythonFiles, how: Confinement) => startGuest(() => launch(from, how), how, signal);
    try {
      files ??= preparePython(cacheDir, signal);
      const found = await files;
      const booted = await start(found, confinement ?? "bubblewrap");
      if ("guest" in booted) {
        confinement ??= "bubblewrap";
        return booted.guest;
      }
      // Once it has worked, bubblewrap is never given up: a passing failure must not weaken the later runs.
      if (confinement !== undefined) throw notConfined(booted.noBubblewrap);
      const plain = await start(found, "plain");
      if (!("guest" in plain)) throw notConfined(plain.noBubblewrap);
      confinement ??= "plain";
      return plain.guest;
    } catch (thrown) {
      // The next boot looks at the cache folder again.
      files = undefined;
      throw thrown;
    }
  }

  const engine: Engine = {
    name,
    level,
    languages: ["python"],
    can: { sessions: true, network: false },

    async probe(signal) {
      try {
        await using _ = await engine.open({ language: "python" }, signal);
        return null;
      } catch (thrown) {
        signal.throwIfAborted();
        const { message, cause } = toCapstanError(thrown);
        const why = cause instanceof Error ? ` ${cause.message.slice(0, 300)}` : "";
        return {
          reason: `${message}${why}`,
          remedy: "Python needs Node 24 or newer and room for its cache in the home.",
        };
      }
    },

    async open(spec, signal) {
      demandAble(engine, spec);
      const lease = await pool.take(signal);
      const isolation: Isolation = { engine: name, level, network: networks[lease.guest.confinement] };
      return toSandbox(lease, spec, isolation, closing.signal);
    },

    async [Symbol.asyncDispose]() {
      closing.abort();
      await pool[Symbol.asyncDispose]();
    },
  };
  return engine;
}

function notConfined(why: string): CapstanError {
  return new CapstanError(
    "sandbox.unavailable",
    `Python did not start inside bubblewrap: ${why}. See \`capstan doctor\`.`,
  );
}

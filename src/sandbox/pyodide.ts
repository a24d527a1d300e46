import { CapstanError, toCapstanError } from "../core/error.ts";
import { demandAble, type Engine, type Isolation } from "./engine.ts";
import { conduct, takeGuest } from "./process/conduct.ts";
import { openPool } from "./process/pool.ts";
import { toSandbox } from "./process/sandbox.ts";
import { type Confinement, type LocalGuest, startGuest } from "./process/start.ts";
import { launch } from "./pyodide/launch.ts";
import { preparePython, type PythonFiles } from "./pyodide/prepare.ts";
import { findWheels, packWheels } from "./pyodide/wheels.ts";

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
 * `wheels` is a folder of wheels of pure Python that code can import, checked now by their names (`config.bad_value`) and by what is in
 * them before the first run.
 */
export function openPyodideEngine(options: {
  readonly cacheDir: string;
  readonly warm?: number;
  readonly bubblewrap?: "auto" | "never";
  readonly wheels?: string;
}): Engine {
  const { cacheDir, warm = 1, bubblewrap = "auto" } = options;
  const wheels = options.wheels === undefined ? undefined : findWheels(options.wheels);
  const closing = new AbortController();
  const pool = openPool({ warm, maxTaken }, boot);
  let files: Promise<PythonFiles> | undefined;
  // Unknown until the first interpreter has booted: whether bubblewrap works is found out by using it.
  let confinement: Confinement | undefined =
    bubblewrap === "never" || process.platform !== "linux" ? "plain" : undefined;

  async function boot(signal: AbortSignal): Promise<LocalGuest> {
    try {
      files ??= prepare(signal);
      return await bootFrom(await files, signal);
    } catch (thrown) {
      // The next boot looks at the cache folder again.
      files = undefined;
      throw thrown;
    }
  }

  async function prepare(signal: AbortSignal): Promise<PythonFiles> {
    const python = await preparePython(cacheDir, signal);
    if (wheels === undefined) return python;
    const packages = await packWheels(wheels, python, async (request) => {
      const guest = await bootFrom(python, signal);
      try {
        return await conduct(takeGuest(guest, false), request, toIsolation(guest), signal);
      } finally {
        guest.kill();
        await guest.gone;
      }
    });
    return { ...python, packages };
  }

  async function bootFrom(from: PythonFiles, signal: AbortSignal): Promise<LocalGuest> {
    const start = (how: Confinement) => startGuest(() => launch(from, how), how, signal);
    const booted = await start(confinement ?? "bubblewrap");
    if ("guest" in booted) {
      confinement ??= "bubblewrap";
      return booted.guest;
    }
    // Once it has worked, bubblewrap is never given up: a passing failure must not weaken the later runs.
    if (confinement !== undefined) throw notConfined(booted.noBubblewrap);
    const plain = await start("plain");
    if (!("guest" in plain)) throw notConfined(plain.noBubblewrap);
    confinement ??= "plain";
    return plain.guest;
  }

  const engine: Engine = {
    name,
    level,
    languages: ["python"],
    ...(wheels === undefined ? {} : { packages: wheels.packages }),
    can: { sessions: true, network: false },

    async probe(signal) {
      try {
        await using _ = await engine.open({ language: "python" }, signal);
        return null;
      } catch (thrown) {
        signal.throwIfAborted();
        const { message, cause, details } = toCapstanError(thrown);
        const why = cause instanceof Error ? ` ${cause.message.slice(0, 300)}` : "";
        return {
          reason: `${message}${why}`,
          remedy:
            "wheels" in details
              ? "docs/sandbox.md says which wheels run here."
              : "Python needs Node 24 or newer and room for its cache in the home.",
        };
      }
    },

    async open(spec, signal) {
      demandAble(engine, spec);
      const lease = await pool.take(signal);
      return toSandbox(lease, spec, toIsolation(lease.guest), closing.signal);
    },

    async [Symbol.asyncDispose]() {
      closing.abort();
      await pool[Symbol.asyncDispose]();
    },
  };
  return engine;
}

const toIsolation = ({ confinement }: LocalGuest): Isolation => ({
  engine: name,
  level,
  network: networks[confinement],
});

function notConfined(why: string): CapstanError {
  return new CapstanError(
    "sandbox.unavailable",
    `Python did not start inside bubblewrap: ${why}. See \`capstan doctor\`.`,
  );
}

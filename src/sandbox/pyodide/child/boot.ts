import { existsSync, readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";
import { Script } from "node:vm";
import type * as Pyodide from "pyodide";
import type { Frame } from "../../process/wire.ts";
import type { Files } from "./files.ts";
import { fds, print } from "./pipes.ts";

/** What of the global of this name is used here; Node has it, its types do not. */
declare const WebAssembly: {
  readonly Memory: { readonly prototype: Memory };
  readonly Module: new (bytes: Uint8Array) => object;
  instantiate(module: object, imports: object): Promise<{ readonly exports: Readonly<Record<string, unknown>> }>;
};
interface Memory {
  readonly buffer: ArrayBuffer;
  readonly grow: (pages: number) => number;
}
const pageBytes = 65_536;

type Python = Awaited<ReturnType<typeof Pyodide.loadPyodide>>;
/** What is used here of Pyodide's inside. */
interface PythonModule {
  readonly HEAPU8: Uint8Array;
  readonly API: { on_fatal?: (thrown: unknown) => void };
}
type Done = Extract<Frame, { type: "done" }>;
/** `run` of guest-module.ts. */
type RunGuest = (
  code: string,
  resultBytes: number,
  call: (name: string, argsJson: string) => string,
  acall: (name: string, argsJson: string) => Promise<string>,
) => Promise<{ toJs(): readonly [status: Done["status"], resultJson: string, note?: string, error?: string] }>;

/** An interpreter, and what the rest of the child uses of it. */
interface Booted {
  readonly files: Files;
  /** The error number of a full disk. */
  readonly noSpace: number;
  readonly module: PythonModule;
  readonly guest: { readonly run: RunGuest };
  /** To be called before any code of the guest. */
  readonly seal: () => void;
  /** What V8 has compiled of Pyodide's script by now; make.ts keeps it. */
  readonly codeCache: () => Uint8Array;
  /** By how much memory may grow beyond what it is at the first call of this. */
  readonly capMemory: (moreBytes: number) => void;
}

/** Of V8, for what comes after Node's own code. */
const bootFlags = [
  "--disallow-code-generation-from-strings",
  // Booting runs much code once: optimizing it early costs more than it gives. Loops of the guest still get there in milliseconds.
  "--wasm-tiering-budget=100000000",
  // A boot uses a seventh of the interpreter's functions: each is validated with its first use.
  "--wasm-lazy-validation",
  // The interpreter's loop, the one function that takes long to optimize, gains nothing by it.
  "--no-wasm-loop-unrolling",
];

/** A little of what most code does: what it compiles, the run in waiting need not. It is not counted. */
const rehearsal = `
[__import__("_capstan").files.clear(), [f"{n * 1.5:.1f}" for n in range(2) if n], {"a": sum(n for n in (1, 2))}]`;

/** Boots Pyodide, for which this process must look as little like Node as `hideNode` makes it. */
export async function boot(pythonFolder: string, madeFolder: string, packages?: string): Promise<Booted> {
  let capBytes = Number.POSITIVE_INFINITY;
  limitMemory(() => capBytes);
  // Node brings its own code compiled, but for no flags. This one holds for what runs here since before; whatever is made later gets it below.
  setFlagsFromString("--no-disallow-code-generation-from-strings");
  const [{ hideNode }, { seal }] = await Promise.all([import("./hide.ts"), import("./seal.ts")]);
  for (const flag of bootFlags) setFlagsFromString(flag);
  const interpreter = new WebAssembly.Module(readFileSync(`${madeFolder}/python.wasm`));
  const library = readFileSync(`${madeFolder}/library.zip`);
  const cachePath = `${madeFolder}/glue.cache`;
  const cached = existsSync(cachePath) ? { cachedData: readFileSync(cachePath) } : {};
  const glue = new Script(readFileSync(`${madeFolder}/glue.js`, "latin1"), { filename: "pyodide.js", ...cached });
  const { info }: { info: unknown } = JSON.parse(readFileSync(`${pythonFolder}/pyodide-lock.json`, "utf8"));
  const url = (name: string) => pathToFileURL(`${pythonFolder}/${name}`).href;
  const imported = packages === undefined ? undefined : readFileSync(packages);
  hideNode();
  Object.assign(globalThis, {
    fetch: () => Promise.resolve({ ok: true, arrayBuffer: () => Promise.resolve(library.buffer) }),
  });
  Object.assign(WebAssembly, {
    async instantiateStreaming(_response: unknown, imports: object) {
      return { module: interpreter, instance: await WebAssembly.instantiate(interpreter, imports) };
    },
  });
  const createModule: (settings: object) => Promise<PythonModule> = glue.runInThisContext();
  const { loadPyodide }: { readonly loadPyodide: (options: object) => Promise<Python> } = await import(
    url("pyodide.mjs")
  );
  const made = Promise.withResolvers<PythonModule>();
  const options = {
    indexURL: "file:///pyodide/",
    stdLibURL: "file:///pyodide/python_stdlib.zip",
    lockFileContents: JSON.stringify({ info, packages: {} }),
    jsglobals: Object.create(null),
    async createPyodideModule(settings: object) {
      const answer = createModule(settings);
      made.resolve(answer);
      return await answer;
    },
  };
  const python = await loadPyodide(options);
  // Behind the library's end make.ts put a short directory, for the boot alone.
  const whole = new Uint8Array(library.buffer, 0, library.readUInt32LE(library.length - 4));
  python.FS.writeFile("/lib/python314.zip", whole, { canOwn: true });
  const module = await made.promise;
  if (imported !== undefined) {
    python.FS.writeFile("/lib/packages.zip", imported);
    python.pyimport("sys").path.append("/lib/packages.zip");
  }
  python.setStdin({ stdin: () => null });
  python.setStdout({ write: (bytes) => print(fds.stdout, bytes) });
  python.setStderr({ write: (bytes) => print(fds.stderr, bytes) });
  let idleBytes: number | undefined;
  const guest: { readonly run: RunGuest } = python.pyimport("_capstan");
  await guest.run(
    rehearsal,
    64,
    () => "",
    () => Promise.resolve(""),
  );
  return {
    files: python.FS,
    noSpace: python.ERRNO_CODES["ENOSPC"] ?? 51,
    module,
    guest,
    seal,
    codeCache: () => glue.createCachedData(),
    capMemory(moreBytes) {
      idleBytes ??= module.HEAPU8.length;
      capBytes = idleBytes + moreBytes;
    },
  };
}

/** All growth of WebAssembly memory passes here, so that a bomb ends in MemoryError and the interpreter stays usable. */
function limitMemory(capBytes: () => number): void {
  const { prototype } = WebAssembly.Memory;
  const { grow } = prototype;
  Object.defineProperty(prototype, "grow", {
    configurable: false,
    writable: false,
    value(this: Memory, pages: number): number {
      if (this.buffer.byteLength + pages * pageBytes > capBytes()) throw new RangeError("The memory limit is reached");
      return Reflect.apply(grow, this, [pages]);
    },
  });
}

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { createHash } from "node:crypto";
import { lstat, mkdir, readdir, readFile, realpath } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { z } from "zod";
import { CapstanError } from "../../core/error.ts";
import { makeWhole } from "../make-whole.ts";
import { v8Flags } from "./launch.ts";

/** Where a Python process starts from; all of it is only read. */
export interface PythonFiles {
  /** The folder of the pyodide package. */
  readonly pyodide: string;
  /** The folder that make.ts wrote: the child's program and the library. */
  readonly made: string;
  /** A zip file to import from, beside the library; missing: none. */
  readonly packages?: string;
  /** Absolute paths of the shared libraries of this very Node. */
  readonly libraries: readonly string[];
}

const Report = z.object({ sharedObjects: z.array(z.string()) });

/** Compiling the library takes about 4 s; a machine that needs this long is too slow for Python. */
const makeMs = 120_000;

/**
 * Finds what Python processes start from, and makes it in `cacheDir` where it is missing. The folder's name is a hash of the versions
 * and of our own source, so that nothing stale is ever run. Throws `sandbox.unavailable`.
 */
export async function preparePython(cacheDir: string, signal: AbortSignal): Promise<PythonFiles> {
  const own = dirname(fileURLToPath(import.meta.url));
  const manifest = createRequire(import.meta.url).resolve("pyodide/package.json");
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
  const children = (await readdir(join(own, "child"))).filter((name) => name.endsWith(extension)).sort();
  const sources = [
    ...children.map((name) => join("child", name)),
    `library${extension}`,
    `make${extension}`,
    `../guest/guest-module${extension}`,
    `../wasm-binary${extension}`,
  ];
  const hash = createHash("sha256")
    .update(process.version)
    .update(await readFile(manifest));
  for (const source of sources) hash.update(source).update(await readFile(join(own, source)));
  const made = join(await secureFolder(cacheDir), `python-${hash.digest("hex").slice(0, 32)}`);
  const pyodide = dirname(manifest);
  const program = ["--no-warnings", ...v8Flags, join(own, `make${extension}`), pyodide, join(own, "child")];
  try {
    await makeWhole(made, async (draft) => {
      await mkdir(draft, { mode: 0o700 });
      await promisify(execFile)(process.execPath, [...program, draft], { env: {}, timeout: makeMs, signal });
    });
  } catch (cause) {
    signal.throwIfAborted();
    const text = `Python could not be prepared in ${dirname(made)}. Is the disk full?`;
    throw new CapstanError("sandbox.unavailable", text, { cause });
  }
  return { pyodide, made, libraries: librariesOfNode() };
}

/** The folder without links, which Node's permissions look behind. Code is run from it, so nobody else may write there. */
async function secureFolder(cacheDir: string): Promise<string> {
  await mkdir(cacheDir, { recursive: true, mode: 0o700 });
  const folder = await realpath(cacheDir);
  const { mode, uid } = await lstat(folder);
  const foreign = process.getuid !== undefined && uid !== process.getuid();
  if (process.platform !== "win32" && (foreign || (mode & 0o022) !== 0)) {
    throw new CapstanError(
      "sandbox.unavailable",
      `Python runs from ${folder}, which others may write. Make it yours alone: chmod 700 ${folder}`,
    );
  }
  return folder;
}

/** As the loader found them. Without the part about the network the report takes 2 ms. */
function librariesOfNode(): readonly string[] {
  const { report } = process;
  const before: unknown = Reflect.get(report, "excludeNetwork");
  Reflect.set(report, "excludeNetwork", true);
  const { sharedObjects } = Report.parse(report.getReport());
  Reflect.set(report, "excludeNetwork", before);
  return sharedObjects.filter((path) => path.startsWith("/") && !path.endsWith(".node") && existsSync(path));
}

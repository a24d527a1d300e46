/**
 * A program, run once per machine and version: it writes what every Python process starts from into a folder, the files of child/
 * without their types, `library.zip` (Pyodide's standard library compiled to bytecode), `python.wasm` (the interpreter), `glue.js`
 * (Pyodide's own script) and `glue.cache` (what V8 compiled of it in a boot). Booting from these takes a quarter of the time and needs no
 * memory snapshot, so that no two processes share a hash seed, random numbers or anything else.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { loadPyodide } from "pyodide";
import { bootEnd, bootModule, coloursModule, guestModule, packagesModule } from "./guest.ts";
import { trimBinary } from "../wasm-binary.ts";

/** What of the global of this name is used here; Node has it, its types do not. */
declare const WebAssembly: {
  readonly Module: {
    imports(module: object): readonly { readonly module: string; readonly name: string }[];
    exports(module: object): readonly { readonly kind: string; readonly name: string }[];
  };
  compile(bytes: Uint8Array): Promise<object>;
};

const [pyodideFolder = "", childFolder = "", folder = ""] = process.argv.slice(2);
for (const file of readdirSync(childFolder).filter((name) => /^\w+\.[jt]s$/.test(name))) {
  const source = readFileSync(join(childFolder, file), "utf8").replaceAll(
    /(from |import\()"\.\/(\w+)\.[jt]s"/g,
    '$1"./$2.mjs"',
  );
  writeFileSync(join(folder, `${file.slice(0, -3)}.mjs`), file.endsWith(".ts") ? stripTypeScriptTypes(source) : source);
}

const script = readFileSync(join(pyodideFolder, "pyodide.asm.mjs"), "utf8");
const binary = readFileSync(join(pyodideFolder, "pyodide.asm.wasm"));
const exported = await neededExports();
writeFileSync(join(folder, "python.wasm"), trimBinary(binary, { isNeeded: (name) => exported.has(name) }));
writeFileSync(join(folder, "library.zip"), await compiledLibrary());
writeFileSync(join(folder, "glue.js"), toGlue());
execFileSync(process.execPath, [...process.execArgv, join(folder, "compile.mjs"), pyodideFolder, folder], { env: {} });
process.exit(0);

/**
 * Pyodide exports 8,560 functions for libraries that it could load later, and takes 50 ms to wire them. Only these are used by its own
 * script: variables, those that the script imports back, and those that its text names apart from wiring them, which names each
 * function as `_name` three times and as `name` once.
 */
async function neededExports(): Promise<ReadonlySet<string>> {
  const module = await WebAssembly.compile(binary);
  const named = new Map<string, number>();
  for (const [word] of script.matchAll(/[A-Za-z_$][\w$]*/g)) named.set(word, (named.get(word) ?? 0) + 1);
  const times = (word: string) => named.get(word) ?? 0;
  const imported = new Set(
    WebAssembly.Module.imports(module).flatMap((one) => (one.module.startsWith("GOT.") ? one.name : [])),
  );
  const needed = WebAssembly.Module.exports(module).filter(
    ({ kind, name }) =>
      kind !== "function" ||
      imported.has(name) ||
      times(`_${name}`) > 3 ||
      times(name) > (times(`_${name}`) === 0 ? 0 : 1),
  );
  return new Set(needed.map(({ name }) => name));
}

/**
 * Pyodide's script as one that is no module: V8 takes cached code for such a script alone, and in it `import()` only throws. Its value
 * is the one function that it exports.
 */
function toGlue(): string {
  const ending = "export default _createPyodideModule;";
  if (script.split(ending).length !== 2)
    throw new Error("Pyodide's script does not end as that of the pinned version.");
  return script
    .replace(ending, "_createPyodideModule")
    .replaceAll("import.meta.url", '"file:///pyodide/pyodide.asm.mjs"');
}

async function compiledLibrary(): Promise<Uint8Array> {
  const python = await loadPyodide();
  const own = {
    "_capstan.py": guestModule + bootEnd,
    "sitecustomize.py": bootModule,
    "_colorize.py": coloursModule,
    "pyodide/_package_loader.py": packagesModule,
  };
  // Modules that are loaded by now are those of every boot: stored they load faster, the others are deflated.
  python.globals.set("own", python.toPy(own));
  python.runPython(String.raw`
import sys, zipfile
from importlib._bootstrap_external import _code_to_hash_pyc

root = "/lib/python314.zip/"
booted = {getattr(module, "__file__", None) for module in sys.modules.values()}

def add(name, data, method):
    code = compile(data, root + name, "exec", dont_inherit=True, optimize=0)
    target.writestr(name + "c", _code_to_hash_pyc(code, bytes(8), False), method)

with zipfile.ZipFile(root[:-1]) as library, zipfile.ZipFile("/library.zip", "w") as target:
    for name, text in own.items():
        add(name, text, zipfile.ZIP_STORED)
    names = [name for name in library.namelist() if name not in own]
    for name in names:
        if root + name in booted:
            add(name, library.read(name), zipfile.ZIP_STORED)
    add("_colorize_all.py", library.read("_colorize.py"), zipfile.ZIP_DEFLATED)
    for name in names:
        if name.endswith(".py") and root + name not in booted:
            add(name, library.read(name), zipfile.ZIP_DEFLATED)
        elif not name.endswith((".py", "/")):
            target.writestr(name, library.read(name), zipfile.ZIP_DEFLATED)
`);
  return python.FS.readFile("/library.zip");
}

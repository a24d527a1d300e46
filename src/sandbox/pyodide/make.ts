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
import { guestModule } from "../guest/guest-module.ts";
import { trimBinary } from "../wasm-binary.ts";
import { bootEnd, bootModule, coloursModule, packagesModule } from "./library.ts";

const [pyodideFolder = "", childFolder = "", folder = ""] = process.argv.slice(2);
for (const file of readdirSync(childFolder).filter((name) => /^\w+\.[jt]s$/.test(name))) {
  const source = readFileSync(join(childFolder, file), "utf8").replaceAll(
    /(from |import\()"\.\/(\w+)\.[jt]s"/g,
    '$1"./$2.mjs"',
  );
  writeFileSync(join(folder, `${file.slice(0, -3)}.mjs`), file.endsWith(".ts") ? stripTypeScriptTypes(source) : source);
}

const made = toGlue(readFileSync(join(pyodideFolder, "pyodide.asm.mjs"), "utf8"));
const binary = readFileSync(join(pyodideFolder, "pyodide.asm.wasm"));
writeFileSync(join(folder, "python.wasm"), trimBinary(binary, { isNeeded: (name) => made.needed.has(name) }));
writeFileSync(join(folder, "glue.js"), made.glue);
writeFileSync(join(folder, "library.zip"), await compiledLibrary());
execFileSync(process.execPath, [...process.execArgv, join(folder, "compile.mjs"), pyodideFolder, folder], { env: {} });
process.exit(0);

/**
 * Pyodide's script as one that is no module: V8 takes cached code for such a script alone, and in it `import()` only throws. Its value is
 * the one function that it exports. And the names of all that the interpreter must still export to it.
 */
function toGlue(script: string): { readonly glue: string; readonly needed: ReadonlySet<string> } {
  const { trimmed, needed } = trimWiring(script);
  const glue = [
    ["export default _createPyodideModule;", "_createPyodideModule"],
    // Addresses of exports are for compiled packages; what is looked up by name (ctypes) is entered then.
    ["updateGOT(origExports);", ""],
    // A table of 280 functions of WebGL, which nothing in Python calls; each would be compiled as a module of its own.
    [
      "{entry.value=addFunction(value,value.sig)}",
      '{entry.value=symName.startsWith("emscripten_gl")?0:addFunction(value,value.sig)}',
    ],
    // Nothing that is added to the table before Python runs is in it already, so it need not be searched.
    ["var functionsInTableMap;", "var functionsInTableMap=new WeakMap,isTableMapped=false;"],
    [
      "if(!functionsInTableMap){functionsInTableMap=new WeakMap;",
      'if(!isTableMapped&&Module["calledRun"]){isTableMapped=true;',
    ],
  ].reduce((text, [from = "", to = ""]) => replaceOnce(text, from, to), trimmed);
  return { glue: glue.replaceAll("import.meta.url", '"file:///pyodide/pyodide.asm.mjs"'), needed };
}

/**
 * Pyodide exports 8,560 functions and variables for libraries that it could load later, and takes 60 ms to wire them, each to a variable of
 * the same name and an underscore. Kept are those that the rest of its text names.
 */
function trimWiring(script: string): { readonly trimmed: string; readonly needed: ReadonlySet<string> } {
  const wiring = /var ([\w$,]+);function assignWasmExports\(wasmExports\)\{([^{}]+)\}/;
  const [all = "", variables = "", assignments = ""] = wiring.exec(script) ?? [];
  const rest = replaceOnce(script, all, "") + readFileSync(join(pyodideFolder, "pyodide.mjs"), "utf8");
  const wordsOf = (text: string) => text.match(/[A-Za-z_$][\w$]*/g) ?? [];
  const needed = new Set(wordsOf(rest));
  const own = new Set(["Module", "wasmExports", "value"]);
  const kept = assignments.split(";").filter((one) => wordsOf(one).some((word) => needed.has(word) && !own.has(word)));
  for (const word of kept.flatMap(wordsOf)) needed.add(word);
  const declared = variables.split(",").filter((name) => needed.has(name));
  const trimmed = `var ${declared.join(",")};function assignWasmExports(wasmExports){${kept.join(";")}}`;
  return { trimmed: replaceOnce(script, all, trimmed), needed };
}

function replaceOnce(text: string, from: string, to: string): string {
  const [before = "", after, ...more] = text.split(from);
  if (after === undefined || more.length > 0)
    throw new Error(`Pyodide's script is not that of the pinned version: ${from.slice(0, 80)}`);
  return before + to + after;
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
import itertools, marshal, os, sys, zipfile, zipimport
from importlib._bootstrap_external import _code_to_hash_pyc

root = "/lib/python314.zip/"
booted = {getattr(module, "__file__", None) for module in sys.modules.values()}
before_site = {"sitecustomize.pyc"}
for name in itertools.takewhile(lambda name: name != "site", sys.modules):
    before_site.add(str(getattr(sys.modules[name], "__file__", None)).removeprefix(root) + "c")

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

# Behind its end, whose place the comment tells, another end, with the few modules that are loaded before sitecustomize.
end = os.path.getsize("/library.zip")
entries = zipimport._read_directory("/library.zip")
entries = {name: entry and (root + name, *entry[1:]) for name, entry in entries.items()}
with zipfile.ZipFile("/library.zip", "a") as target:
    target.start_dir = end
    target.filelist = [entry for entry in target.filelist if entry.filename in before_site]
    target.writestr("directory", marshal.dumps(entries))
    target.comment = end.to_bytes(4, "little")
`);
  return python.FS.readFile("/library.zip");
}

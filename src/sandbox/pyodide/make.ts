/**
 * A program, run once per machine and version: it writes what every Python process starts from into a folder, the files of child/
 * without their types and `library.zip`, Pyodide's standard library compiled to bytecode. Booting from bytecode takes a third of the
 * time and needs no memory snapshot, so that no two processes share a hash seed, random numbers or anything else.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { loadPyodide } from "pyodide";
import { guestModule } from "./guest.ts";

const [childFolder = "", folder = ""] = process.argv.slice(2);
for (const file of readdirSync(childFolder).filter((name) => /^\w+\.[jt]s$/.test(name))) {
  const source = readFileSync(join(childFolder, file), "utf8").replaceAll(
    / from "\.\/(\w+)\.[jt]s"/g,
    ' from "./$1.mjs"',
  );
  writeFileSync(join(folder, `${file.slice(0, -3)}.mjs`), file.endsWith(".ts") ? stripTypeScriptTypes(source) : source);
}

const python = await loadPyodide();
python.FS.writeFile("/_capstan.py", guestModule);
// Modules that are loaded by now are those of every boot: stored they load faster, the others are deflated.
python.runPython(String.raw`
import sys, zipfile
from importlib._bootstrap_external import _code_to_hash_pyc

root = "/lib/python314.zip/"
booted = {getattr(module, "__file__", None) for module in sys.modules.values()}

def add(name, data):
    code = compile(data, root + name, "exec", dont_inherit=True, optimize=0)
    method = zipfile.ZIP_STORED if root + name in booted or name == "_capstan.py" else zipfile.ZIP_DEFLATED
    target.writestr(name + "c", _code_to_hash_pyc(code, bytes(8), False), method)

with zipfile.ZipFile(root[:-1]) as library, zipfile.ZipFile("/library.zip", "w") as target:
    for name in library.namelist():
        if name.endswith(".py"):
            add(name, library.read(name))
        elif not name.endswith("/"):
            target.writestr(name, library.read(name), zipfile.ZIP_DEFLATED)
    with open("/_capstan.py", "rb") as guest:
        add("_capstan.py", guest.read())
`);
writeFileSync(join(folder, "library.zip"), python.FS.readFile("/library.zip"));
process.exit(0);

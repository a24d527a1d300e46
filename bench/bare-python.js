// The peer of Python in execute_code: Pyodide as it is shipped, in a process of its own, unconfined. Prints the value of the code. Given a
// path beside, it starts from the memory snapshot there; given a path alone, it makes that.
import { readFile, writeFile } from "node:fs/promises";
import { loadPyodide } from "pyodide";

const [path, code] = process.argv.slice(2);
if (code === undefined) {
  const python = await loadPyodide({ _makeSnapshot: true });
  await writeFile(path, python.makeMemorySnapshot());
} else {
  const python = await loadPyodide(path === "" ? {} : { _loadSnapshot: await readFile(path) });
  process.stdout.write(JSON.stringify(python.runPython(code)));
}

// The peer of Python in execute_code: Pyodide as it is shipped, in a process of its own, unconfined. Prints the value of the code.
import { loadPyodide } from "pyodide";

const [code] = process.argv.slice(2);
const python = await loadPyodide();
process.stdout.write(JSON.stringify(python.runPython(code)));

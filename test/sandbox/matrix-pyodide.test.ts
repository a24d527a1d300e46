import { describeMatrix } from "./matrix.ts";
import { openPython } from "./python.ts";

await describeMatrix({ name: "pyodide", engine: openPython() });

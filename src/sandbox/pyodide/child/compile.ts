/**
 * A program that make.ts runs once: it boots as each Python process will, under the same flags, and keeps what V8 has compiled of Pyodide's
 * script by then.
 */
import { writeFileSync } from "node:fs";
import { boot } from "./boot.ts";

const { process } = globalThis;
const [pythonFolder = "", madeFolder = ""] = process.argv.slice(2);
const { codeCache } = await boot(pythonFolder, madeFolder);
writeFileSync(`${madeFolder}/glue.cache`, codeCache());
process.exit(0);

import type { Language } from "../engine.ts";
import { nodeProgram } from "../guest/node.ts";
import { pythonProgram } from "../guest/python.ts";
import { launcherInJavaScript, launcherInPython } from "./launcher.ts";

const python = ["python3", "-I", "-X", "utf8", "-c"];
const node = ["node", "--no-warnings", "-e"];
const inPython = [...python, launcherInPython, ...python, pythonProgram];
const inNode = [...node, launcherInJavaScript, ...node, nodeProgram];

/** What a container starts with, by language: a launcher and the runner that it launches. The interpreters are the image's. */
export const commands: ReadonlyMap<Language, readonly string[]> = new Map<Language, readonly string[]>([
  ["python", inPython],
  ["javascript", inNode],
  ["typescript", inNode],
  ["bash", inPython],
]);

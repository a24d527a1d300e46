import { describeEngine } from "./conformance.ts";
import { openPython } from "./python.ts";
import { pythonSnippets } from "./snippets.ts";

describeEngine("Python", () => openPython(), pythonSnippets);

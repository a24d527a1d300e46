import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { openPython } from "../sandbox/python.ts";
import { describeCodeMode, pythonCodeMode, scriptCodeMode } from "./code-mode.ts";

describeCodeMode("QuickJS", () => openQuickjsEngine(), scriptCodeMode);
describeCodeMode("Pyodide", () => openPython(), pythonCodeMode);

import type { Engine } from "../../src/sandbox/engine.ts";
import { openPyodideEngine } from "../../src/sandbox/pyodide.ts";
import { pythonCache } from "../support/python.ts";

/** The Python engine over the cache of the tests, in bubblewrap where that works unless told otherwise. */
export const openPython = (options: { readonly bubblewrap?: "auto" | "never"; readonly warm?: number } = {}): Engine =>
  openPyodideEngine({ cacheDir: pythonCache, ...options });

/**
 * Whether what holds without bubblewrap is tried too where bubblewrap works: in CI and wherever CAPSTAN_TEST_REQUIRE is set, since
 * each case starts interpreters. Elsewhere those cases are skipped, and it shows.
 */
export const alsoPlain = (process.env["CAPSTAN_TEST_REQUIRE"] ?? "") !== "";

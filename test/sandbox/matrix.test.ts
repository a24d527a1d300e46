import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openEngines } from "../../src/sandbox/all.ts";
import { SandboxConfig } from "../../src/sandbox/config.ts";
import { pythonCache } from "../support/python.ts";
import { hostileCases } from "./hostile/all.ts";

test("each engine has a file of its own, which tries the attacks on it", () => {
  const engines = openEngines({ cacheDir: pythonCache, config: SandboxConfig.parse({}) });
  const without = engines.filter(({ name }) => !existsSync(join(import.meta.dirname, `matrix-${name}.test.ts`)));
  expect(without.map(({ name }) => name)).toEqual([]);
});

test("each attack has an id of its own, and is tried somewhere", () => {
  expect(new Set(hostileCases.map(({ id }) => id)).size).toBe(hostileCases.length);
  for (const { id, in: variants } of hostileCases) {
    expect(id).toMatch(/^[A-K]\d+[a-z]?$/);
    expect(Object.keys(variants)).not.toEqual([]);
  }
});

import { execFileSync } from "node:child_process";
import { globSync } from "node:fs";
import { join } from "node:path";

/** Runs every example as a program of its own; the first that fails ends this one with its exit code. */
for (const file of globSync("*/main.ts", { cwd: import.meta.dirname }).toSorted()) {
  execFileSync(process.execPath, [join(import.meta.dirname, file)], {
    stdio: ["ignore", "inherit", "inherit"],
    timeout: 120_000,
  });
}

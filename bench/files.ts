import { closeSync, lstatSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openInside, openRoot } from "../src/permissions/safe-path.ts";
import { tempFolder } from "./home.ts";
import type { Figure } from "./measure.ts";
import { cpuMicros, measure } from "./measure.ts";

const depth = 20;
const walks = 1_000;

/** What it costs to go to a file from folder to folder, each opened and judged by itself. */
export async function* benchFiles(): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  const parts = Array.from({ length: depth }, (_, index) => `folder-${index}`);
  mkdirSync(join(folder.path, ...parts), { recursive: true });
  const relative = join(...parts, "file");
  writeFileSync(join(folder.path, relative), "");
  using root = openRoot(folder.path);
  const steps = walks * (depth + 1);
  yield await measure({
    bench: "files",
    figure: `a walk to a file below ${depth} folders, each step`,
    unit: "µs CPU",
    ours: () =>
      cpuMicros(steps, async () => {
        for (let walk = 0; walk < walks; walk += 1) {
          openInside(root, relative, { want: "file", symlinks: "deny" })[Symbol.dispose]();
        }
      }),
    peerName: "fs.lstatSync of each part by its path, then open: a race",
    peer: () =>
      cpuMicros(steps, async () => {
        for (let walk = 0; walk < walks; walk += 1) {
          let path = folder.path;
          for (const part of [...parts, "file"]) {
            path = join(path, part);
            if (lstatSync(path).isSymbolicLink()) throw new Error(`${path} is a link.`);
          }
          closeSync(openSync(path, "r"));
        }
      }),
  });
}

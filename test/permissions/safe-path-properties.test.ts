import { realpathSync, statSync, symlinkSync } from "node:fs";
import { posix } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import { locate } from "../../src/files/locate.ts";
import { openInside, openRoot } from "../../src/permissions/safe-path.ts";
import { showPath } from "../../src/permissions/safe-path-text.ts";
import { openTree } from "../files/tree.ts";
import { pureCases, slowCases } from "../support/cases.ts";
import { methods } from "./safe-path-support.ts";

/** Parts that mean something to a file system, to a careless reader of paths, or to nobody. */
const part = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom("a", "b", "data", "data-evil", "..a..b", "é", " ", "~", "$HOME", "%20") },
  { weight: 2, arbitrary: fc.constantFrom("..", ".", "", "%2e%2e", "..%2f", "a\\b", "a\0", "\ud800", "...") },
  { weight: 1, arbitrary: fc.string({ maxLength: 8, unit: "binary" }) },
);
const pathText = fc
  .tuple(fc.constantFrom("", "/", "/srv/data/", "/srv/", "//", "./"), fc.array(part, { maxLength: 6 }))
  .map(([start, parts]) => start + parts.join("/"));

/** What came of it: a value, or a refusal. Anything else that is thrown fails the test. */
function outcomeOf<T>(act: () => T): T | CapstanError {
  try {
    return act();
  } catch (thrown) {
    if (thrown instanceof CapstanError) return thrown;
    throw thrown;
  }
}

describe("locate()", () => {
  test("never names a place outside the granted folder, and none that the system would read otherwise", () => {
    const granted = "/srv/data";
    let accepted = 0;
    fc.assert(
      fc.property(pathText, (text) => {
        const located = outcomeOf(() => locate([granted], text));
        if (located instanceof CapstanError) return ["files.bad_path", "files.outside_root"].includes(located.code);
        accepted += 1;
        // The system's own reading of the text, from the granted folder.
        const oracle = posix.resolve(granted, text);
        const isBelow = !posix.relative(granted, oracle).split("/").includes("..");
        const isPlain = located.names.every((name) => name.length > 0 && !name.includes(0) && !name.includes(0x2f));
        return located.root === granted && showPath(granted, located.names) === oracle && isBelow && isPlain;
      }),
      { numRuns: pureCases },
    );
    expect(accepted).toBeGreaterThan(pureCases / 20);
  });
});

/** Targets that stay, leave, come back, lead nowhere or in circles. */
const target = fc.oneof(
  fc
    .array(fc.constantFrom("a", "b", "c", "..", ".", "f"), { minLength: 1, maxLength: 5 })
    .map((parts) => parts.join("/")),
  fc.constantFrom(
    "$OUT",
    "$OUT/secret.txt",
    "$IN/a",
    "$IN/a/b/f",
    "$IN/../outside",
    "../../outside/secret.txt",
    "/",
    "/etc",
  ),
);
const links = fc.dictionary(fc.constantFrom("l", "m", "a/l", "a/m", "a/b/l", "a/b/m", "c"), target, { minKeys: 2 });
const walks = fc.array(
  fc
    .array(fc.constantFrom("a", "b", "c", "f", "l", "m"), { minLength: 1, maxLength: 5 })
    .map((parts) => parts.join("/")),
  { minLength: 30, maxLength: 30 },
);

/** Where the system would end up, or null where it would end nowhere. */
function reach(path: string): string | null {
  try {
    return realpathSync(path);
  } catch {
    return null;
  }
}

describe.each(methods)("openInside() by $name", (method) => {
  test("over any links, opens what the system would open, and only below the root", async () => {
    let opened = 0;
    let escapes = 0;
    const refusals = new Set<string>();
    await fc.assert(
      fc.asyncProperty(links, walks, async (made, paths) => {
        await using tree = await openTree({ "a/b/f": "x", "b/f": "y" });
        for (const [name, to] of Object.entries(made)) {
          symlinkSync(to.replace("$OUT", tree.outside).replace("$IN", tree.root), tree.at(name));
        }
        using root = openRoot(tree.root, { method });
        for (const path of paths) {
          const real = reach(tree.at(path));
          const isOutside = real !== null && real !== tree.root && !real.startsWith(`${tree.root}/`);
          if (isOutside) escapes += 1;
          const found = outcomeOf(() => openInside(root, path, { want: "any", symlinks: "inside" }));
          if (found instanceof CapstanError) {
            refusals.add(found.code);
            continue;
          }
          using closing = found;
          opened += 1;
          const same = statSync(tree.at(path), { bigint: true });
          expect({ path: closing.path, ino: closing.stat.ino, isOutside }).toEqual({
            path: real,
            ino: same.ino,
            isOutside: false,
          });
        }
      }),
      { numRuns: slowCases },
    );
    expect([...refusals].filter((code) => !/^files\.(not_found|outside_root|symlink)$/.test(code))).toEqual([]);
    // The attack and its lawful neighbour were both there.
    expect(escapes).toBeGreaterThan(0);
    expect(opened).toBeGreaterThan(0);
  });
});

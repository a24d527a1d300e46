import { glob, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

/** The escalations that must be denied, by their numbers: calls, widenings and tokens, then those where other rooms meet the grant. */
const cases = [
  ...numbers("1-6 8 9 11 12 14 15 17 18 20 21 23 24 26 27 29 30 32 33 35 36 38 39 41 42 44 45"),
  ...numbers("47 48 50 51 53 54 56 57 59 60 62 63 65 66 68 69 71 72 74 75 77 78 80 81 83"),
  ...numbers("1-5 7-9 11-13 15-17 19-21 23-25 27-29 31-33 35-37 39-41 43-46 48-52 54-58 60").map((id) => `B${id}`),
];

/** What can't be attempted yet, and why. A case leaves this list with the layer that it attacks, and gets its test there. */
const later: Readonly<Record<string, readonly string[]>> = {
  "tokens have one link: there are no chains and no proof of possession": ["60", "62", "63", "78", "80"],
  "no tool moves or writes files": ["B3"],
  "no tool connects to a host": ["B7", "B8", "B9", "B60"],
  "code holds no handle that it could guess: its calls leave by the channel of its own execution": ["B13"],
  "there is no REST, no role and no organization but the local one": ["B32", "B33", "B35"],
  "there are no webhooks": ["B41"],
};

/** Ids at the beginning of a test's name (`B1: …`, `66, 68: …`) or at its end (`… (44, B39)`). */
const ids = String.raw`B?\d+(?:, B?\d+)*`;
const named = new RegExp(String.raw`^(${ids}): |\((${ids})\)$`);

/** The ids that the names of a file's tests give, those of `test.each` rows included. */
function citedIn(source: string): readonly string[] {
  const names = [...source.matchAll(/[([]\s*(["`])((?:(?!\1)[^\\]|\\.)*)\1/g)].map(([, , name = ""]) => name);
  const inNames = names.flatMap((name) => {
    const [, first, last] = named.exec(name) ?? [];
    return (first ?? last ?? "").split(", ");
  });
  const rows = source.includes('"%i: ') ? [...source.matchAll(/^\s*\[(\d+), /gm)].map(([, id = ""]) => id) : [];
  return [...inNames, ...rows];
}

describe("the list of escalations", () => {
  test("has a test for each case, or says why there can't be one yet", async () => {
    const cited = new Set<string>();
    const root = join(import.meta.dirname, "..");
    for await (const file of glob("**/*.test.ts", { cwd: root })) {
      // The sandbox's tests cite another list, of hostile code.
      if (file.startsWith("sandbox")) continue;
      for (const id of citedIn(await readFile(join(root, file), "utf8"))) cited.add(id);
    }
    const waiting = Object.values(later).flat();
    expect(cases.filter((id) => !cited.has(id) && !waiting.includes(id))).toEqual([]);
    expect(waiting.filter((id) => cited.has(id) || !cases.includes(id))).toEqual([]);
    expect(cases).toHaveLength(104);
  });

  test("finds a case by a name and not by a mention", () => {
    const tests = 'test("972: a", f); test.each([["B91: b", 1]])("c (95, B92)", f);';
    expect(citedIn(tests).filter(Boolean).sort()).toEqual(["95", "972", "B91", "B92"]);
    expect(citedIn('// "B99: no"\nx("of B98 d"); y = "B97: e";').filter(Boolean)).toEqual([]);
    expect(citedIn('test.each([\n  [914, t1],\n])("%i: denies")')).toContain("914");
  });
});

/** `1-3 5` is 1, 2, 3 and 5. */
function numbers(text: string): readonly string[] {
  return text.split(" ").flatMap((part) => {
    const [from = 0, to = from] = part.split("-").map(Number);
    return Array.from({ length: to - from + 1 }, (_, index) => String(from + index));
  });
}

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { launch, listed, namesOf, openPinsAt, openTestPins } from "./pins-support.ts";

const child = new URL("pins-child.ts", import.meta.url).pathname;

async function start(folder: string, job: "approve" | "load", words: readonly string[]): Promise<unknown> {
  const args = [child, folder, job, JSON.stringify(words)];
  return JSON.parse((await promisify(execFile)(process.execPath, args, { timeout: 60_000 })).stdout);
}

describe("several processes", () => {
  test("approve at once and lose nothing of each other", async () => {
    await using opened = await openTestPins();
    const names = Array.from({ length: 12 }, (_, index) => `tool${index}`);
    await opened.pins.load("notes", launch);
    await opened.pins.observe(
      "notes",
      names.map((name) => listed(name)),
    );
    await opened.pins.observe(
      "notes",
      names.map((name) => listed(name, { title: "2" })),
    );
    const parts = [0, 1, 2].map((part) => names.filter((_, index) => index % 3 === part));
    const ends = parts.map((part) =>
      start(
        opened.folder,
        "approve",
        part.map((name) => `notes__${name}`),
      ),
    );
    expect(await Promise.all(ends)).toEqual([4, 4, 4]);
    const { tools } = await opened.pins.load("notes", launch);
    expect(tools.map(({ definition }) => definition["title"])).toEqual(names.map(() => "2"));
    expect(await opened.pins.differences()).toEqual([]);
  });

  test("that start a server for the first time agree on which start is pinned", async () => {
    await using opened = await openTestPins();
    const ends = ["a", "b", "c"].map((word) => start(opened.folder, "load", [word]));
    const isBlocked = await Promise.all(ends);
    expect(isBlocked.filter((blocked) => blocked === false)).toHaveLength(1);
  });

  test("of which one approves: the other sees it when it reads again", async () => {
    await using opened = await openTestPins();
    await using other = await openPinsAt(opened.folder);
    await opened.pins.load("notes", launch);
    await opened.pins.observe("notes", [listed("add")]);
    await opened.pins.observe("notes", [listed("add", { title: "2" })]);
    expect(namesOf(await opened.pins.load("notes", launch))).toEqual([]);
    await other.pins.approve("notes__add");
    expect(namesOf(await opened.pins.load("notes", launch))).toEqual(["add"]);
  });

  test("that see other lists at the same time keep the first definition of each tool", async () => {
    await using opened = await openTestPins();
    await using other = await openPinsAt(opened.folder);
    await opened.pins.load("notes", launch);
    await other.pins.load("notes", launch);
    const answers = await Promise.all([
      ...Array.from({ length: 5 }, () => opened.pins.observe("notes", [listed("add", { title: "1" })])),
      ...Array.from({ length: 5 }, () => other.pins.observe("notes", [listed("add", { title: "2" })])),
    ]);
    const pins = new Set(answers.flatMap(({ tools }) => tools.map(({ pin }) => pin)));
    expect(pins.size).toBe(1);
    expect(answers.filter(({ tools }) => tools.length === 1)).toHaveLength(5);
  });
});

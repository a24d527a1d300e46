import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Json } from "../../src/core/json.ts";
import { launch, listed, namesOf, openPinsAt } from "../host/mcp/pins-support.ts";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

/** A home whose servers are in the config and never started; `before` was pinned and `after` is what they list now. */
async function openHome(
  before: Readonly<Record<string, Json>> = {},
  after: Readonly<Record<string, Json>> = before,
  more = "",
) {
  await using opened = new AsyncDisposableStack();
  const home = opened.use(await tempFolder());
  const off = "enabled: false, command: node";
  await writeFile(
    join(home.path, "capstan.yaml"),
    `mcp: { servers: { notes: { ${off}${more} }, other: { ${off} } } }\n`,
  );
  // Also makes the home's keys.
  expect((await capstan(home.path, ["grant", "show"])).code).toBe(0);
  const { pins } = opened.use(await openPinsAt(home.path));
  await pins.load("notes", launch);
  await pins.observe("notes", [listed("add", before), listed("list")]);
  await pins.observe("notes", [listed("add", after), listed("list")]);
  const owned = opened.move();
  const run = (...args: readonly string[]) => capstan(home.path, args);
  return { home: home.path, pins, run, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

describe("capstan tools diff", () => {
  test("says that nothing waits, with exit code 0", async () => {
    await using opened = await openHome();
    for (const args of [[], ["notes"], ["notes__add"], ["other"]]) {
      const ended = await opened.run("tools", "diff", ...args);
      expect(ended).toMatchObject({ code: 0, stdout: "" });
      expect(ended.stderr).toContain("waits for an approval");
    }
    expect(await opened.run("tools", "diff", "--json")).toMatchObject({ code: 0, stdout: "[]\n" });
  });

  test("shows the old and the new lines of what changed, with exit code 1", async () => {
    await using opened = await openHome({ description: "Adds\na note" }, { description: "Adds\na note\nand mails it" });
    const ended = await opened.run("tools", "diff");
    expect(ended.code).toBe(1);
    expect(ended.stdout).toContain('notes__add: the tool "add" of notes\n');
    expect(ended.stdout).toContain("\n    a note\n+   and mails it\n");
    expect(ended.stdout).not.toMatch(/^-/m);
    expect(ended.stderr).toContain("tools approve NAME");
    expect((await opened.run("tools", "diff", "notes__add")).stdout).toBe(ended.stdout);
    expect(await opened.run("tools", "diff", "other")).toMatchObject({ code: 0, stdout: "" });
    const json = await opened.run("tools", "diff", "notes", "--json");
    expect(json.code).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject([
      { server: "notes", tool: "add", before: { description: "Adds\na note" }, after: { title: "Title of add" } },
    ]);
  });

  test("shows how a server is started, and no value of its environment", async () => {
    await using opened = await openHome();
    await opened.pins.load("notes", { ...launch, args: ["evil.js"], env: { TOKEN: "n3w", MODE: "fast" } });
    const ended = await opened.run("tools", "diff");
    expect(ended.code).toBe(1);
    expect(ended.stdout).toContain("notes: how it is started or reached\n");
    expect(ended.stdout).toMatch(/^- {3}- server\.js$/m);
    expect(ended.stdout).toMatch(/^\+ {3}- evil\.js$/m);
    expect(ended.stdout).toMatch(/^\+ {3}TOKEN: \(changed\)$/m);
    expect(ended.stdout).not.toMatch(/n3w|s3cret/);
  });

  test("lets no text of a server forge a line, hide or turn around", async () => {
    const hostile = [
      "good\r- old: harmless",
      "notes__list: approved\n+ description: harmless",
      "a\u001b[2J\u009b1mb",
      "\u202eevil\u2066",
      "zero\u200bwidth\u2060\ufeff",
      "tags\u{e0041}\u{e0042}\ufe0f\u{e0100}\u3164\u2800",
      "line\u2028para\u2029next\u0085",
      "no\u00a0break",
      "half \ud800 pair",
    ].join("\n");
    await using opened = await openHome({ description: "Adds" }, { description: hostile, title: "x\n...\n- y" });
    const { stdout, code } = await opened.run("tools", "diff");
    expect(code).toBe(1);
    const [head, ...lines] = stdout.trimEnd().split("\n");
    expect(head).toBe('notes__add: the tool "add" of notes');
    for (const line of lines) expect(line).toMatch(/^(?:[-+ ] |\.\.\.$)/);
    // Only spaces and line ends are as they are; all else that can't be seen is spelled out.
    expect(stdout.replaceAll(/[ \n]/g, "")).not.toMatch(/[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/u);
    for (const spelled of ["202e", "200b", "feff", "e0041", "fe0f", "e0100", "3164", "2800", "2028", "a0"]) {
      expect(stdout, spelled).toMatch(new RegExp(`\\\\(?:u\\{${spelled}\\}|u${spelled})|\\\\[LP_]`));
    }
    expect(stdout).not.toMatch(/^\+ description: harmless$/m);
  });

  test("names the server that was meant", async () => {
    await using opened = await openHome();
    const ended = await opened.run("tools", "diff", "nots");
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(ended.stderr).toContain("Did you mean notes?");
  });
});

describe("capstan tools approve", () => {
  test("asks, and without a terminal wants --yes", async () => {
    await using opened = await openHome({ title: "1" }, { title: "2" });
    const ended = await opened.run("tools", "approve", "notes__add");
    expect(ended.code).toBe(2);
    expect(ended.stderr).toContain("--yes");
    expect(namesOf(await opened.pins.load("notes", launch))).toEqual(["list"]);
  });

  test("shows and approves a tool, on record, and nothing else", async () => {
    await using opened = await openHome({ title: "1" }, { title: "2" });
    await opened.pins.load("notes", { ...launch, args: [] });
    const ended = await opened.run("tools", "approve", "notes__add", "--yes");
    expect(ended.code, ended.stderr).toBe(0);
    expect(ended.stdout).toMatch(/^\+ title: "2"$/m);
    expect(ended.stdout).not.toContain("how it is started");
    expect(ended.stderr).toContain("Approved notes__add");
    expect(await opened.pins.load("notes", { ...launch, args: [] })).toMatchObject({ isLaunchBlocked: true });
    expect(await opened.pins.differences()).toHaveLength(1);

    expect((await opened.run("tools", "approve", "notes", "--yes")).code).toBe(0);
    expect(await opened.pins.differences()).toEqual([]);
    expect(namesOf(await opened.pins.load("notes", { ...launch, args: [] }))).toEqual(["add", "list"]);
    expect(await opened.run("tools", "approve", "notes", "--yes")).toMatchObject({ code: 0, stdout: "" });

    await using store = (await openPinsAt(opened.home)).store;
    const rows = (await Array.fromAsync(store.audit())).map(({ entry }) => entry);
    expect(rows.filter(({ action }) => action === "tools/approve").map(({ name }) => name)).toEqual([
      "notes__add",
      "notes",
    ]);
    expect((await opened.run("audit", "verify")).code).toBe(0);
  });

  test("takes the own name of a tool that is published under it", async () => {
    await using opened = await openHome({ title: "1" }, { title: "2" }, ", prefix: false");
    expect((await opened.run("tools", "approve", "add", "--yes")).code).toBe(0);
    expect(await opened.pins.differences()).toEqual([]);
  });

  test("is the operator's alone, as is the difference", async () => {
    await using opened = await openHome({ title: "1" }, { title: "2" });
    const token = (await opened.run("grant", "create", "--allow", "calculator")).stdout.trim();
    for (const args of [
      ["approve", "notes", "--yes"],
      ["diff", "--json"],
    ]) {
      for (const held of [
        { args: ["--grant", token, "tools", ...args], env: {} },
        { args: ["tools", ...args], env: { CAPSTAN_GRANT: token } },
      ]) {
        const ended = await capstan(opened.home, held.args, { env: held.env });
        expect(ended).toMatchObject({ code: 6, stdout: "" });
        expect(ended.stderr).toContain("permission.no_right");
      }
    }
    expect(await opened.pins.differences()).toHaveLength(1);
    expect((await opened.run("tools", "approve", "notes", "--yes")).code).toBe(0);
    expect(await opened.pins.differences()).toEqual([]);
  });
});

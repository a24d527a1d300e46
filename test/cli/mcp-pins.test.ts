import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { launch, listed, openPinsAt } from "../host/mcp/pins-support.ts";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

test("capstan mcp ls counts what is pinned and what changed, and rm drops it, with nothing started", async () => {
  await using home = await tempFolder();
  const mcp = (...args: readonly string[]) => capstan(home.path, ["mcp", ...args]);
  const server = '{ command: "/nothing/here" }';
  await writeFile(join(home.path, "capstan.yaml"), `mcp:\n  servers:\n    notes: ${server}\n    other: ${server}\n`);
  {
    await using opened = await openPinsAt(home.path);
    for (const name of ["notes", "other"]) {
      await opened.pins.load(name, launch);
      await opened.pins.observe(name, [listed("add"), listed("list")]);
    }
    await opened.pins.observe("notes", [listed("add", { title: "2" }), listed("list")]);
    await opened.pins.load("notes", { ...launch, args: [] });
  }
  const before = await mcp("ls");
  expect(before.code, before.stderr).toBe(0);
  expect(before.stdout).toBe(
    "notes  stdio  on   1 tool, 2 changes blocked  /nothing/here\n" +
      "other  stdio  on   2 tools                    /nothing/here\n",
  );
  expect(before.stderr).toContain("tools diff");

  expect((await mcp("rm", "notes")).code).toBe(0);
  expect((await mcp("add", "notes", "--", "/nothing/here")).code).toBe(0);
  const after = await mcp("ls");
  expect(after.stdout).toMatch(/^notes +stdio +on +never asked +\/nothing\/here$/m);
  expect(after.stdout).toMatch(/^other +stdio +on +2 tools +\/nothing\/here$/m);
  expect(after.stderr).toBe("");
});

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { expect, test } from "vitest";
import { withSdk } from "../host/mcp/bridged-app.ts";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

test("capstan tools ls shows what a server hides in its texts, and lets none of it reach the terminal", async () => {
  await using home = await tempFolder();
  await using folder = await tempFolder();
  const title = "Read\u001b[2J\ncalculator  Safe\u202E";
  const description = "Reads.\u200B\u{E0041} \u009B2J";
  const inputSchema = { type: "object" };
  const offer = {
    tools: [
      { name: "read", title, description, inputSchema },
      { name: "list", title: "Liste – ä", inputSchema },
    ],
  };
  await writeFile(join(folder.path, "offer.json"), JSON.stringify(offer));
  await writeFile(join(home.path, "capstan.yaml"), stringify({ mcp: { servers: { notes: withSdk(folder.path) } } }));
  const list = (...more: readonly string[]) => capstan(home.path, ["tools", "ls", "--allow", "notes__*", ...more]);

  const shown = await list();
  expect(shown.stdout).toMatch(/^notes__read +Read \[2J calculator Safe$/m);
  expect(shown.stdout).toMatch(/^notes__list +Liste – ä$/m);

  const { stdout } = await list("--json");
  expect(stdout).toContain(String.raw`"Read\u001b[2J\ncalculator  Safe\u202e"`);
  expect(stdout).toContain(String.raw`"Reads.\u200b\udb40\udc41 \u009b2J"`);
  expect(stdout).toContain('"Liste – ä"');
  const tools: { name: string; description: string }[] = JSON.parse(stdout);
  expect(tools.find(({ name }) => name === "notes__read")).toMatchObject({ title, description });
});

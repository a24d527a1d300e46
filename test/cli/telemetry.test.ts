import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

test("an SDK that is registered with --import gets every span, although the command ends before a batch is full", async () => {
  await using home = await tempFolder();
  const file = join(home.path, "spans");
  const register = new URL("otel.ts", import.meta.url).href;
  const env = { NODE_OPTIONS: `--import ${register}`, SPANS: file };
  const { code, stderr } = await capstan(home.path, ["run", "show me all my tasks"], { env });
  expect(code, stderr).toBe(0);
  const spans = readFileSync(file, "utf8").trim().split("\n");
  expect(spans).toEqual(["chat planner", "execute_tool todo_list", "chat planner", "invoke_agent"]);
});

test("an exporter that fails is told of, and changes nothing about how the command ended", async () => {
  await using home = await tempFolder();
  const register = new URL("otel.ts", import.meta.url).href;
  // A folder, which spans can't be written into.
  const env = { NODE_OPTIONS: `--import ${register}`, SPANS: home.path };
  const { code, stderr } = await capstan(home.path, ["run", "show me all my tasks"], { env });
  expect(code, stderr).toBe(0);
  expect(stderr).toContain("OpenTelemetry could not send all spans (Error: EISDIR");
});

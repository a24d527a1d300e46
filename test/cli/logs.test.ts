import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { toRecords } from "../host/telemetry/records.ts";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

const task = ["run", "show me all my tasks"];

/** Of what was told, the records; the other lines are for people. */
const recordsIn = (stderr: string) =>
  toRecords(
    stderr
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .join("\n"),
  );

describe("the log of a command", () => {
  test("goes to stderr from the level on that CAPSTAN_LOG names, also where the config names another", async () => {
    await using home = await tempFolder();
    await writeFile(join(home.path, "capstan.yaml"), "host: { telemetry: { logs: error } }\n", { mode: 0o600 });
    const { code, stdout, stderr } = await capstan(home.path, task, { env: { CAPSTAN_LOG: "info" } });
    expect(code, stderr).toBe(0);
    expect(stdout).toBe("There are no todos.\n");
    expect(recordsIn(stderr).map(({ name }) => name)).toEqual([
      "orchestrate_start",
      "provider_call",
      "tool_execution",
      "provider_call",
      "orchestrate_complete",
    ]);
    expect(recordsIn((await capstan(home.path, task)).stderr)).toEqual([]);
  });

  test("is written by the config alone too, for each message of a chat and a run that is taken up", async () => {
    await using home = await tempFolder();
    await writeFile(join(home.path, "capstan.yaml"), "host: { telemetry: { logs: info } }\n", { mode: 0o600 });
    const chat = await capstan(home.path, ["chat"], { stdin: "show me all my tasks\nwhat is 2 + 3?\n" });
    const started = recordsIn(chat.stderr).filter(({ name }) => name === "orchestrate_start");
    expect(started.map(({ conversation }) => conversation)).toEqual([started[0]?.["runId"], started[0]?.["runId"]]);
    const begun = await capstan(home.path, ["runs", "fork", String(started[0]?.["runId"]), "--at", "3", "--no-run"]);
    const [forked] = recordsIn(begun.stderr).map(({ runId }) => String(runId));
    const resumed = await capstan(home.path, ["runs", "resume", forked ?? ""]);
    expect(resumed.code, resumed.stderr).toBe(0);
    const names = recordsIn(resumed.stderr).map(({ name, runId }) => [name, runId]);
    expect(names[0]).toEqual(["orchestrate_start", forked]);
    expect(names.at(-1)).toEqual(["orchestrate_complete", forked]);
  });

  test("that is off loads nothing for it", async () => {
    await using home = await tempFolder();
    const register = new URL("loaded.ts", import.meta.url).href;
    const loadedBy = async (level: string): Promise<string> => {
      const file = join(home.path, level);
      await capstan(home.path, task, {
        env: { NODE_OPTIONS: `--import ${register}`, LOADED: file, CAPSTAN_LOG: level },
      });
      return readFileSync(file, "utf8");
    };
    expect(await loadedBy("info")).toContain("/pino/");
    const loaded = await loadedBy("off");
    expect(loaded).toContain("/host/host.");
    expect(loaded).not.toContain("/pino/");
  });

  test("says which levels there are where CAPSTAN_LOG names none of them", async () => {
    await using home = await tempFolder();
    const { code, stderr } = await capstan(home.path, task, { env: { CAPSTAN_LOG: "loud" } });
    expect([code, stderr]).toEqual([
      2,
      'usage.bad_option: CAPSTAN_LOG is "loud". Set it to off, error, warn, info, debug, or not at all.\n',
    ]);
  });
});

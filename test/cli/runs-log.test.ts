import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

const task = 'add todo "buy milk", then list my todos';

describe("capstan runs", () => {
  test("forks, checks, replays, exports and imports a run, and says which of its lines was changed", async () => {
    await using home = await tempFolder();
    const runs = (...words: string[]) => capstan(home.path, ["runs", ...words]);
    const { runId } = JSON.parse((await capstan(home.path, ["run", task, "--json"])).stdout);
    const events: { type: string; seq: number; callId: string }[] = JSON.parse(
      (await runs("show", runId, "--json")).stdout,
    );
    const end = events.findLast(({ type }) => type === "tool.finished") ?? { seq: 0, callId: "" };

    const at = ["--at", `${end.seq}`];
    const fork = await runs("fork", runId, ...at, "--result", `${end.callId}={"found":3}`, "--json");
    expect(fork).toMatchObject({ code: 0 });
    const { runId: made } = JSON.parse(fork.stdout);
    const shown = (await runs("show", made)).stdout;
    expect(shown).toMatch(
      new RegExp(`^${runId}:\\n   1 [^]*^${made}:\\n   1 .*as a fork from event ${end.seq - 1} of ${runId}`, "m"),
    );
    expect(shown).toMatch(/result put in by hand for call_\w+: \{"found":3\}/);
    const left = await runs("fork", runId, "--at", "1", "--no-run");
    expect(left).toMatchObject({ code: 0, stdout: expect.stringMatching(/^run_\w+\n$/) });
    expect(left.stderr).toContain(`runs resume ${left.stdout.trim()}`);

    const file = join(home.path, "their run.jsonl");
    expect(await runs("export", made, "-o", file)).toMatchObject({ code: 0 });
    expect((await runs("verify", made, file)).stdout).toMatch(/is whole: \d+ events, its end is sealed by this home/);
    expect(await runs("verify", runId, file)).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/another run, run_/),
    });
    expect(await runs("replay", made)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("comes out the same"),
    });
    const imported = await runs("import", file);
    expect(imported.stderr).toContain("tainted import:their-run");
    expect(await runs("resume", imported.stdout.trim())).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/imported.*runs fork/),
    });

    await writeFile(file, (await readFile(file, "utf8")).replace('"found":3', '"found":4'));
    expect(await runs("import", file)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^run.bad_file: Line \d+ /),
    });
    {
      using db = new DatabaseSync(join(home.path, "state.db"));
      db.prepare("update events set body = replace(body, '\"turn\":1', '\"turn\":7') where run = ?").run(runId);
    }
    expect(await runs("verify", runId)).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/was changed: event \d+ of run_/),
    });
    expect(await runs("replay", runId)).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/In the log: .*"turn":7.*\nToday: .*"turn":1/),
    });
  });

  test("says what is wrong with a fork or a file that can't be", async () => {
    await using home = await tempFolder();
    const runs = (...words: string[]) => capstan(home.path, ["runs", ...words]);
    const { runId } = JSON.parse((await capstan(home.path, ["run", task, "--json"])).stdout);
    const fork = (...words: string[]) => runs("fork", runId, ...words);
    for (const [words, says] of [
      [["--at", "two"], /two/],
      [["--at", "2", "--result", "call_1={no"], /--result call_1= takes JSON/],
      [["--at", "2", "--result", "call_1=1"], /No call call_1 is open/],
    ] as const) {
      expect(await fork(...words)).toMatchObject({ code: 2, stdout: "", stderr: expect.stringMatching(says) });
    }
    const long = join(home.path, "long.run.jsonl");
    await writeFile(long, `{"type":"capstan.run","x":"${"x".repeat(100 * 1024 * 1024)}"}\n`);
    expect(await runs("import", long)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^run.bad_file: Line 1 .*longer than/),
    });
    expect(await runs("import", join(home.path, "none"))).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/can't be read/),
    });
  });

  test("lists the others beside a run whose log is damaged, and names that one", async () => {
    await using home = await tempFolder();
    const runs = (...words: string[]) => capstan(home.path, ["runs", ...words]);
    const begin = async (said: string) => JSON.parse((await capstan(home.path, ["run", said, "--json"])).stdout).runId;
    const whole = await begin('add todo "buy milk"');
    const damaged = await begin('add todo "buy bread"');
    expect(await runs("ls")).toMatchObject({ code: 0, stderr: "" });
    {
      using db = new DatabaseSync(join(home.path, "state.db"));
      db.prepare("update events set body = '{' where run = ? and seq = 1").run(damaged);
    }
    const says = `run.corrupt: Event 1 of run ${damaged} can't be read`;
    const listed = await runs("ls");
    expect(listed).toMatchObject({ code: 1, stderr: expect.stringContaining(says) });
    expect(listed.stdout).toMatch(new RegExp(`^${damaged}  \\S+  damaged .*\n${whole}  \\S+  done .*buy milk`));
    const json = await runs("ls", "--json");
    expect(json).toMatchObject({ code: 1, stderr: expect.stringContaining(says) });
    expect(JSON.parse(json.stdout)).toMatchObject([
      { runId: damaged, status: "damaged", damage: expect.stringContaining("Event 1") },
      { runId: whole, status: "done" },
    ]);
    // What may be the last conversation is not passed over for an older one.
    const next = await capstan(home.path, ["run", "--continue", task]);
    expect(next).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining(damaged) });
    expect((await capstan(home.path, ["run", "--conversation", whole, task])).code).toBe(0);
    expect((await capstan(home.path, ["run", "--continue", task])).code).toBe(0);
  });

  test("shows the holder of a token what was begun under it, and nothing of what was begun beside it", async () => {
    await using home = await tempFolder();
    const rights = ["--allow", "todo_add", "--allow", "run_agent", "--resource", "capstan://runs/"];
    const create = async () => (await capstan(home.path, ["grant", "create", ...rights])).stdout.trim();
    const [one, beside] = [await create(), await create()];
    const as = (token: string, ...words: string[]) => capstan(home.path, ["--grant", token, ...words]);
    const { runId } = JSON.parse((await as(one, "run", 'add todo "buy milk"', "--json")).stdout);
    const listed = async (token: string) => JSON.parse((await as(token, "runs", "ls", "--json")).stdout);
    expect(await listed(one)).toMatchObject([{ runId, status: "done" }]);
    expect(await listed(beside)).toEqual([]);
    for (const words of [["show"], ["export"], ["verify"], ["replay"], ["fork", "--at", "1"]]) {
      const [command = "", ...rest] = words;
      const refused = await as(beside, "runs", command, runId, ...rest);
      expect(refused, command).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("run.not_found") });
      expect(refused.stderr).not.toContain("milk");
      expect((await as(one, "runs", command, runId, ...rest)).code, command).toBe(0);
    }
    expect((await capstan(home.path, ["runs", "ls"])).stdout).toContain(runId);
  });
});

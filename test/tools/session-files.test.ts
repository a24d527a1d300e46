import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Engine } from "../../src/sandbox/engine.ts";
import { filesAfter } from "../../src/tools/session/records.ts";
import { openPython } from "../sandbox/python.ts";
import { openTestArtifacts } from "../support/artifacts.ts";
import { openSessionDoor } from "./session-door.ts";

/** A run in tests has 10 files and a mebibyte for them. */
const large = 600_000;

const mebibyte = 1024 * 1024;

test("filesAfter() keeps beside what came out no more than an output folder can hold", () => {
  const artifacts = [{ path: "a", bytes: new Uint8Array(40 * mebibyte) }];
  const before = new Map([
    ["y", { hash: "y", bytes: 30 * mebibyte }],
    ["z", { hash: "z", bytes: 20 * mebibyte }],
  ]);
  const limits = { artifacts: 10, artifactBytes: 64 * mebibyte };
  expect([...filesAfter({ artifacts, artifactsCut: true }, before, limits).keys()]).toEqual(["a", "z"]);
  expect([...filesAfter({ artifacts }, before, limits).keys()]).toEqual(["a"]);
});

describe("files of a session that are more than come out of a run", () => {
  let engine: Engine;
  beforeAll(() => {
    engine = openPython();
  });
  afterAll(() => engine[Symbol.asyncDispose]());
  const args = { language: "python" };
  const write = (path: string, bytes: number): string => `open("/out/${path}", "w").write("x" * ${bytes})`;

  test("stay on record as they were, until all come out again", async () => {
    await using home = await openTestArtifacts();
    await using before = await openSessionDoor({ engines: [engine], home });
    await before.run("work", `${write("a", 1)}; ${write("z", large)}`, { args });
    const full = await before.run("work", write("a", large), { args });
    expect(full).toMatchObject({ status: "ok", resultNote: expect.stringContaining("1 of /out stayed there") });
    expect(full.artifacts).toMatchObject([{ path: "a", bytes: large }]);
    expect(await before.list()).toMatchObject([{ files: 2, bytes: 2 * large }]);
    await before[Symbol.asyncDispose]();

    await using after = await openSessionDoor({ engines: [engine], home });
    const sizes = `import os; [os.path.getsize(f"/out/{name}") for name in sorted(os.listdir("/out"))]`;
    const next = await after.run("work", sizes, { args });
    expect(next).toMatchObject({ result: [large, large], session: { isNew: true } });
    expect(next.session?.note).toContain("Its 2 files are there.");
    expect(await after.run("work", `os.remove("/out/z")`, { args })).not.toHaveProperty("resultNote");
    expect(await after.list()).toMatchObject([{ files: 1, bytes: large }]);
  });

  test("take no more than twice the room of a run on record, however often they change", async () => {
    await using home = await openTestArtifacts();
    await using capstan = await openSessionDoor({ engines: [engine], home });
    const { scope } = capstan.operator;
    const other = (round: number): string =>
      `import os, shutil; shutil.rmtree("/out/${round - 1}", True); os.mkdir("/out/${round}")
for name in range(11): open(f"/out/${round}/{name}", "w").write("x")`;
    for (let round = 0; round < 4; round += 1) await capstan.run("work", other(round), { args });
    const paths = (await home.store.records(scope, "session-file")).map(({ key }) => key.split("/")[1]);
    expect([...new Set(paths)]).toEqual(["2", "3"]);
    expect(await capstan.list()).toMatchObject([{ files: 20, bytes: 20 }]);
    expect(paths).toHaveLength(20);
  });
});

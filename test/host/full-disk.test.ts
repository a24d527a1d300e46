import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect } from "vitest";
import { testWith } from "../support/machine.ts";
import { tempFolder } from "../support/temp.ts";

const script = new URL("full-disk-run.ts", import.meta.url).pathname;

describe("a run whose disk becomes full", () => {
  testWith("bubblewrap")("stops with the reason, loses nothing, and goes on when there is room", async () => {
    await using folder = await tempFolder();
    const disk = ["--dev-bind", "/", "/", "--size", "8000000", "--tmpfs", folder.path];
    const { stdout } = await promisify(execFile)("bwrap", [...disk, process.execPath, script, folder.path]);
    const stopped = { code: "store.full", says: true, whole: true, again: "store.full", lost: false, sealed: true };
    const done = { later: "done", question: [], end: "done" };
    expect(JSON.parse(stdout)).toEqual({
      // What may be repeated is, also when the run was taken up too early; about what may not a person is asked, who says no here.
      read: { ...stopped, ...done, ran: "read read read once" },
      once: { ...stopped, later: "suspended", question: [true], end: "refused", ran: "read once" },
      model: { ...stopped, ...done, ran: "read once" },
    });
  });
});

import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { testWith } from "../support/machine.ts";
import { tempFolder } from "../support/temp.ts";

const noBubblewrap = testWith("bubblewrap") === test.skip;
const noCompiler = testWith("cc") === test.skip;
const run = promisify(execFile);
const fullScript = new URL("sqlite-full.ts", import.meta.url).pathname;
const syncScript = new URL("sqlite-sync.ts", import.meta.url).pathname;

describe("a full disk", () => {
  test.skipIf(noBubblewrap)(
    "refuses writes with store.full, keeps what is there readable and whole, and heals with free space",
    async () => {
      await using folder = await tempFolder();
      const disk = ["--dev-bind", "/", "/", "--size", "3000000", "--tmpfs", folder.path];
      const { stdout } = await run("bwrap", [...disk, process.execPath, fullScript, folder.path]);
      expect(JSON.parse(stdout)).toEqual({
        code: "store.full",
        neighbours: { "store.full": 3 },
        readable: true,
        chain: true,
        later: { done: 4 },
        kept: true,
        chainLater: [],
        opening: "store.full",
      });
    },
  );
});

/** Lets fsync fail while the file named by FAIL_SYNC exists. */
const failingSync = `
  #include <errno.h>
  #include <stdlib.h>
  #include <sys/syscall.h>
  #include <unistd.h>
  static int sync_with(long call, int fd) {
    const char *flag = getenv("FAIL_SYNC");
    if (flag && access(flag, F_OK) == 0) { errno = EIO; return -1; }
    return syscall(call, fd);
  }
  int fsync(int fd) { return sync_with(SYS_fsync, fd); }
  int fdatasync(int fd) { return sync_with(SYS_fdatasync, fd); }
`;

describe("a disk that fails to sync", () => {
  test.skipIf(noCompiler)(
    "refuses what asked for power, and then everything until the store is opened anew",
    async () => {
      await using folder = await tempFolder();
      const [source, library] = [join(folder.path, "sync.c"), join(folder.path, "sync.so")];
      await writeFile(source, failingSync);
      await run("cc", ["-shared", "-fPIC", "-o", library, source]);
      const env = { ...process.env, LD_PRELOAD: library, FAIL_SYNC: join(folder.path, "fail") };
      const { stdout } = await run(process.execPath, [syncScript, folder.path], { env });
      expect(JSON.parse(stdout)).toEqual({
        power: "done",
        // Durable against a killed process only: it does not wait for the disk.
        processWhileFailing: "done",
        powerWhileFailing: "store.unavailable",
        processAfterwards: "store.unavailable",
        powerAfterwards: "store.unavailable",
        readable: ["a", "b"],
        openedAnew: "done",
        kept: ["a", "b", "f"],
      });
    },
  );
});

import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { openDockerEngine } from "../../src/sandbox/docker.ts";
import { dockerSocket, testImage } from "../support/docker.ts";
import { describeWith } from "../support/machine.ts";
import { runIn, testLimits } from "./hostile.ts";

describeWith("gvisor")("in gVisor", () => {
  test("code runs on another kernel, and memory that it shares is limited too", async () => {
    const { memoryBytes } = testLimits;
    const image = await testImage();
    const options = { cacheDir: tmpdir(), socket: dockerSocket, image, memoryBytes, warm: 0 };
    await using engine = openDockerEngine({ ...options, runtime: "runsc" });
    await using plain = openDockerEngine(options);
    const kernel = 'open("/proc/version").read()';
    const [inside, outside] = [await runIn(engine, "python", kernel), await runIn(plain, "python", kernel)];
    expect(inside).toMatchObject({ status: "ok", isolation: { level: "user-space-kernel" } });
    expect(outside).toMatchObject({ status: "ok", isolation: { level: "container" } });
    expect(inside.result).not.toBe(outside.result);
    const shared = "import mmap\ntaken = mmap.mmap(-1, 1 << 30)\nfor at in range(0, 1 << 30, 4096): taken[at] = 1";
    expect(await runIn(engine, "python", shared)).toMatchObject({ status: "memory" });
    expect(await runIn(engine, "javascript", "1 + 1")).toMatchObject({ result: 2 });
  });
});

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import type { Json } from "../../src/core/json.ts";
import { openDocker } from "../../src/sandbox/docker/daemon.ts";
import { openDockerEngine } from "../../src/sandbox/docker.ts";
import { testImage } from "../support/docker.ts";
import { describeWith } from "../support/machine.ts";
import { tempFolder } from "../support/temp.ts";
import { runIn, testLimits } from "./hostile.ts";

const mebibyte = 1024 * 1024;

/** A service of podman's own, with images and containers of its own. */
async function openPodman() {
  await using opened = new AsyncDisposableStack();
  const { path } = opened.use(await tempFolder());
  const socket = join(path, "socket");
  const folders = ["--root", join(path, "root"), "--runroot", join(path, "run")];
  // As it has to be where no manager of services runs; crun can't do with control groups of both versions.
  const runtime = existsSync("/usr/sbin/runc") ? ["--runtime=/usr/sbin/runc"] : [];
  const args = [...folders, "--cgroup-manager=cgroupfs", "--events-backend=file", ...runtime];
  const service = spawn("podman", [...args, "system", "service", "--time=0", `unix://${socket}`], { stdio: "ignore" });
  opened.defer(async () => {
    service.kill();
    if (service.exitCode === null && service.signalCode === null) await once(service, "exit");
    // Podman mounts this folder onto itself.
    await promisify(execFile)("umount", [join(path, "root/overlay")]).catch(() => undefined);
  });
  await expect.poll(() => existsSync(socket), { timeout: 20_000 }).toBe(true);
  const owned = opened.move();
  return { socket, path, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

describeWith("podman")("in podman", () => {
  test("code of each language runs, is held to its limits, and leaves no container", { timeout: 180_000 }, async () => {
    await using podman = await openPodman();
    const { socket } = podman;
    const { memoryBytes } = testLimits;
    const image = await testImage({ socket });
    {
      await using engine = openDockerEngine({ cacheDir: join(podman.path, "cache"), socket, image, memoryBytes });
      const onCall = (name: string, args: Json): Promise<Json> => Promise.resolve({ name, args });
      const files = [{ path: "in.txt", bytes: Buffer.from("in") }];
      const called = { status: "ok", result: { name: "echo", args: { x: "in" } } };
      const python = 'print(1, file=open("/out/out.txt", "w"))\ntools.echo(x=open("/in/in.txt").read())';
      expect(await runIn(engine, "python", python, { files, onCall })).toMatchObject({
        ...called,
        artifacts: [{ path: "out.txt" }],
      });
      const script = 'await tools.echo({ x: files.read("in.txt") })';
      expect(await runIn(engine, "javascript", script, { files, onCall })).toMatchObject(called);
      const bash = 'result=$(tools echo "{\\"x\\": \\"$(cat /in/in.txt)\\"}")';
      expect(await runIn(engine, "bash", bash, { files, onCall })).toMatchObject(called);

      const spin = "while True: pass";
      expect(await runIn(engine, "python", spin, { limits: { wallMs: 500 } })).toMatchObject({ status: "timeout" });
      // Shared memory, which the interpreter's own limit does not count.
      const shared = "import mmap\nheld = mmap.mmap(-1, 1 << 29)\nfor at in range(0, 1 << 29, 4096): held[at] = 1";
      expect(await runIn(engine, "python", shared)).toMatchObject({ status: "memory" });
      const less = { limits: { memoryBytes: 16 * mebibyte } };
      expect(await runIn(engine, "python", shared, less)).toMatchObject({ status: "memory" });

      const signal = AbortSignal.timeout(60_000);
      await using session = await engine.open({ language: "python", isSession: true }, signal);
      const request = (code: string) => ({ language: "python" as const, code, files: [], limits: testLimits });
      await session.run(request("kept = 41"), signal);
      expect(await session.run(request("kept + 1"), signal)).toMatchObject({ result: 42 });
    }
    const docker = await openDocker(socket);
    await expect.poll(() => docker.listContainers({ all: true }), { timeout: 20_000 }).toEqual([]);
  });
});

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { createServer as createSocketServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, expect, test } from "vitest";
import type { Json } from "../../src/core/json.ts";
import { connect, type Daemon, explain, openDocker } from "../../src/sandbox/docker/daemon.ts";
import { toHomeId, toLabels } from "../../src/sandbox/docker/owner.ts";
import { openDockerEngine } from "../../src/sandbox/docker.ts";
import { dockerSocket, testImage } from "../support/docker.ts";
import { describeWith } from "../support/machine.ts";
import { tempFolder } from "../support/temp.ts";
import { runIn, testLimits } from "./hostile.ts";

const never = new AbortController().signal;
const mebibyte = 1024 * 1024;
type Options = Parameters<typeof openDockerEngine>[0];

test("without a daemon the engine says what to install", async () => {
  await using engine = openDockerEngine({
    cacheDir: "/none",
    socket: "/none.sock",
    image: "none",
    memoryBytes: mebibyte,
  });
  expect(await engine.probe(never)).toMatchObject({
    reason: "There is no Docker at /none.sock.",
    remedy: expect.stringContaining("docker.io"),
  });
  await expect(engine.open({ language: "python" }, never)).rejects.toMatchObject({ code: "sandbox.unavailable" });
});

test.for([
  [{ OSType: "windows" }, "runs containers of windows."],
  [{ PidsLimit: false }, "can't limit memory, processor time and processes."],
  [{ Runtimes: { runsc: { runtimeArgs: ["--ignore-cgroups"] } } }, "ignores control groups"],
  [{ Runtimes: {} }, "has no runtime runsc."],
  // What it lacks then is asked for next.
  [{ Runtimes: { runsc: { runtimeArgs: ["--platform=ptrace"] } } }, "The image none is not there."],
] as const)("a daemon that says %j of itself is judged by that", async ([said, reason]) => {
  await using folder = await tempFolder();
  const socket = join(folder.path, "socket");
  const server = createServer(({ url }, response) => {
    const info = { OSType: "linux", MemoryLimit: true, CpuCfsQuota: true, PidsLimit: true, ...said };
    response.statusCode = url === "/info" ? 200 : 404;
    response.end(JSON.stringify(url === "/info" ? info : { message: "No such image: none" }));
  }).listen(socket);
  await once(server, "listening");
  const judged = await connect({ socket, image: "none", runtime: "runsc", cacheDir: folder.path });
  expect(judged).toMatchObject({ reason: expect.stringContaining(reason) });
  server.close();
});

test("a daemon that takes what is asked and never answers holds up neither a probe nor the end of the engine", async () => {
  await using folder = await tempFolder();
  const socket = join(folder.path, "socket");
  const connections = new Set<Socket>();
  const server = createSocketServer((connection) => void connections.add(connection)).listen(socket);
  await once(server, "listening");
  const engine = openDockerEngine({ cacheDir: folder.path, socket, image: "none", memoryBytes: mebibyte });
  const stop = new AbortController();
  const probing = engine.probe(stop.signal);
  const opening = engine.open({ language: "python" }, never).catch((thrown: unknown) => thrown);
  await expect.poll(() => connections.size).toBe(2);
  stop.abort(new Error("stopped"));
  await expect(probing).rejects.toThrow("stopped");
  await engine[Symbol.asyncDispose]();
  expect(await opening).toMatchObject({ code: "sandbox.unavailable" });
  const impatient = await openDocker(socket, { silentMs: 100 });
  const failure: unknown = await impatient.info().catch((thrown: unknown) => thrown);
  expect(explain(failure, socket, "none")).toMatchObject({ reason: expect.stringContaining("gave no answer") });
  for (const connection of connections) connection.destroy();
  server.close();
});

describeWith("docker")("containers", () => {
  let image = "";
  let daemon: Daemon;
  beforeAll(async () => {
    image = await testImage();
    const connected = await connect({ socket: dockerSocket, image, cacheDir: tmpdir() });
    if ("reason" in connected) throw new Error(connected.reason);
    daemon = connected;
  });

  /** An engine with a home of its own, so that nothing else is among its containers. */
  const open = (over: Partial<Options> = {}, cacheDir = `/tests/${crypto.randomUUID()}`) => {
    const options = { cacheDir, socket: dockerSocket, image, memoryBytes: 256 * mebibyte, warm: 0, ...over };
    return { options, engine: openDockerEngine(options) };
  };
  const listed = async ({ cacheDir }: Options) => {
    const filters = { label: [`dev.capstan.home=${toHomeId(cacheDir)}`] };
    return await daemon.docker.listContainers({ all: true, filters });
  };
  const states = async (options: Options) => (await listed(options)).map(({ State }) => State);
  const create = async (labels: Record<string, string>) =>
    (await daemon.docker.createContainer({ Image: image, Cmd: ["true"], Labels: labels })).id;

  test.for([
    [{ image: "capstan-no-such-image" }, /^The image capstan-no-such-image is not there\.$/, /capstan sandbox build/],
    [{ runtime: "no-such-runtime" }, /no runtime no-such-runtime/, /daemon\.json/],
  ] as const)("probe says what is missing: %j", async ([over, reason, remedy]) => {
    await using lacking = open(over).engine;
    const missing = await lacking.probe(never);
    expect(missing?.reason).toMatch(reason);
    expect(missing?.remedy).toMatch(remedy);
  });

  test.for([
    // Code could fill the disk of the machine.
    ["VOLUME /data", "declares volumes: /data."],
    ["ENV PATH=/nothing", "has no python3."],
  ])("an image with %s is refused", async ([change, reason]) => {
    const name = `capstan-test-lacking-${crypto.randomUUID()}`;
    const container = await daemon.docker.createContainer({ Image: image, Cmd: ["true"] });
    await container.commit({ repo: name, changes: [change] });
    await container.remove();
    await using lacking = open({ image: name }).engine;
    expect((await lacking.probe(never))?.reason).toContain(reason);
    await daemon.docker.getImage(name).remove();
  });

  test("a run that may take less memory than is usual gets less", async () => {
    await using engine = open().engine;
    const hog = "taken = bytearray(150 << 20)\nlen(taken)";
    expect(await runIn(engine, "python", hog, { limits: { memoryBytes: 256 * mebibyte } })).toMatchObject({
      result: 150 << 20,
    });
    // Shared memory, which the interpreter's own limit does not count.
    const shared = "import mmap\ntaken = mmap.mmap(-1, 400 << 20)\nfor at in range(0, 400 << 20, 4096): taken[at] = 1";
    const { status, usage } = await runIn(engine, "python", shared, { limits: { memoryBytes: 32 * mebibyte } });
    expect(status).toBe("memory");
    expect(usage.memoryBytes).toBeLessThanOrEqual((32 + 192) * mebibyte);
  });

  test("bash prints to the last byte, calls tools and leaves files", async () => {
    await using engine = open().engine;
    const code = `
seq 1 9999 >/out/numbers
tail -1 /out/numbers
result=$(tools echo '{"x": 1}')`;
    const onCall = (name: string, args: Json): Promise<Json> => Promise.resolve({ name, args });
    const { status, stdout, result, artifacts } = await runIn(engine, "bash", code, { onCall });
    expect({ status, stdout, result }).toEqual({
      status: "ok",
      stdout: "9999\n",
      result: { name: "echo", args: { x: 1 } },
    });
    expect(artifacts.map(({ path }) => path)).toEqual(["numbers"]);
    for (let tries = 0; tries < 5; tries += 1) {
      const { stdout: last } = await runIn(engine, "bash", "seq 1 9999");
      expect(last.slice(-10)).toBe("9998\n9999\n");
    }
  });

  test("a container that is removed from outside has crashed", async () => {
    const { engine, options } = open();
    await using _ = engine;
    await using sandbox = await engine.open({ language: "python" }, never);
    const request = { language: "python" as const, code: "while True: pass", files: [], limits: testLimits };
    const running = sandbox.run(request, never);
    for (const { Id } of await listed(options)) await daemon.docker.getContainer(Id).remove({ force: true });
    expect(await running).toMatchObject({ status: "crashed" });
  });

  test("nothing moves between the runs of a session, and its variables live on", async () => {
    const { engine, options } = open();
    await using _ = engine;
    await using sandbox = await engine.open({ language: "python", isSession: true }, never);
    const request = (code: string) => ({ language: "python" as const, code, files: [], limits: testLimits });
    const count = `
import threading, time
ticks = 0
def tick():
    global ticks
    while True:
        time.sleep(0.001)
        ticks += 1
threading.Thread(target=tick, daemon=True).start()
time.sleep(0.1)
ticks`;
    const { result: before } = await sandbox.run(request(count), never);
    await expect.poll(() => states(options)).toEqual(["paused"]);
    await sleep(1_000);
    const { result: after } = await sandbox.run(request("ticks"), never);
    // A second would have brought hundreds more.
    expect(Number(after) - Number(before)).toBeLessThan(200);
    await expect.poll(() => states(options)).toEqual(["paused"]);
    await sandbox[Symbol.asyncDispose]();
    await expect.poll(() => listed(options)).toEqual([]);
  });

  test("what a Capstan that was killed left behind ends by itself, and the next one removes it", async () => {
    const program = join(import.meta.dirname, "docker-killed.ts");
    const { engine, options } = open();
    await using _ = engine;
    const args = [program, JSON.stringify(options)];
    const child = spawn(process.execPath, ["--no-warnings", ...args], { stdio: ["ignore", "pipe", "inherit"] });
    await once(createInterface(child.stdout), "line");
    expect(await states(options)).toEqual(["running"]);
    child.kill("SIGKILL");
    // It is busy, and ends because nobody is attached any more.
    await expect.poll(() => states(options)).toEqual(["exited"]);
    expect(await runIn(engine, "python", "1+1")).toMatchObject({ result: 2 });
    await expect.poll(() => listed(options)).toEqual([]);
  });

  test("the sweep leaves what belongs to another home, another machine, or a Capstan that lives", async () => {
    const folder = `/tests/${crypto.randomUUID()}`;
    const own = toLabels(toHomeId(folder));
    const owner = JSON.parse(own["dev.capstan.owner"] ?? "");
    const owned = (by: object) => create({ ...own, "dev.capstan.owner": JSON.stringify({ ...owner, ...by }) });
    const kept = [
      await create(own),
      await create({ ...own, "dev.capstan.home": toHomeId("/another") }),
      await create({ ...own, "dev.capstan.owner": "unreadable" }),
      await owned({ host: "another-machine", boot: "x" }),
    ];
    const left = [
      await owned({ boot: "an earlier one" }),
      await owned({ start: "1" }),
      await owned({ pid: 2 ** 22 + 1 }),
    ];
    {
      await using sweeping = open({}, folder).engine;
      await using _ = await sweeping.open({ language: "python" }, never);
    }
    const all = (await daemon.docker.listContainers({ all: true })).map(({ Id }) => Id);
    expect(left.filter((id) => all.includes(id))).toEqual([]);
    expect(kept.filter((id) => !all.includes(id))).toEqual([]);
    for (const id of kept) await daemon.docker.getContainer(id).remove();
  });
});

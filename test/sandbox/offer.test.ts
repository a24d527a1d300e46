import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { IsolationLevel } from "../../src/core/isolation.ts";
import { testWith } from "../support/machine.ts";
import { openEngines } from "../../src/sandbox/all.ts";
import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import { openDockerEngine } from "../../src/sandbox/docker.ts";
import { SandboxConfig, toExecLimits, toInputBytes } from "../../src/sandbox/config.ts";
import type { Engine } from "../../src/sandbox/engine.ts";
import { installedEngines, offeredEngines, whyNotOffered } from "../../src/sandbox/offer.ts";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { tempFolder } from "../support/temp.ts";

const quickjs = openQuickjsEngine();
afterAll(() => quickjs[Symbol.asyncDispose]());

const as = (name: string, level: IsolationLevel): Engine => ({ ...quickjs, name, level });
const all = [quickjs, as("pyodide", "wasm-in-child"), as("bubblewrap", "os-sandbox"), as("docker", "container")];
const offered = (config: object): readonly string[] =>
  offeredEngines(all, SandboxConfig.parse(config)).map(({ name }) => name);

describe("the engines that the config offers", () => {
  test("are all of them unless it says less, in its order, and never one weaker than it says", () => {
    expect(offered({})).toEqual(["quickjs", "pyodide", "bubblewrap", "docker"]);
    expect(offered({ engines: ["docker", "quickjs", "docker"] })).toEqual(["docker", "quickjs"]);
    expect(offered({ isolation: "os-sandbox" })).toEqual(["bubblewrap", "docker"]);
    expect(offered({ isolation: "os-sandbox", engines: ["docker", "pyodide"] })).toEqual(["docker"]);
  });

  test("are never none: such a config is refused with what to change", () => {
    expect(() => offered({ engines: ["quickjs"], isolation: "container" })).toThrow(
      /^No engine of sandbox.engines \(quickjs\) is as strong as sandbox.isolation: container\./,
    );
    expect(() => offered({ isolation: "user-space-kernel" })).toThrow(
      expect.objectContaining({ code: "config.bad_value" }),
    );
    expect(SandboxConfig.safeParse({ engines: [] }).success).toBe(false);
    expect(SandboxConfig.safeParse({ engines: ["vm2"] }).success).toBe(false);
    expect(SandboxConfig.safeParse({ isolation: "strong" }).success).toBe(false);
  });

  test("say of the others why", () => {
    const config = SandboxConfig.parse({ engines: ["quickjs", "docker"], isolation: "os-sandbox" });
    expect(all.map((engine) => whyNotOffered(engine, config))).toEqual([
      "sandbox.isolation asks for os-sandbox",
      "sandbox.engines leaves it out",
      "sandbox.engines leaves it out",
      undefined,
    ]);
  });

  test("are told of where they are installed, unless none is", async () => {
    const gone = all.map((engine) => ({ ...engine, isInstalled: () => engine.name === "docker" }));
    expect(installedEngines([quickjs, ...gone]).map(({ name }) => name)).toEqual(["quickjs", "docker"]);
    const none = gone.slice(0, 3);
    expect(installedEngines(none)).toEqual(none);
    await using folder = await tempFolder();
    const socket = join(folder.path, "socket");
    await using docker = openDockerEngine({ cacheDir: folder.path, socket, image: "none", memoryBytes: 1 });
    expect(installedEngines([quickjs, docker])).toEqual([quickjs]);
    await writeFile(socket, "");
    expect(installedEngines([quickjs, docker])).toEqual([quickjs, docker]);
  });

  testWith("bubblewrap")("are told of with bubblewrap where it works", async () => {
    await using bubblewrap = openBubblewrapEngine({ warm: 0 });
    expect(installedEngines([quickjs, bubblewrap])).toEqual([quickjs, bubblewrap]);
  });

  test("have a name in the config each, by which it can offer them", async () => {
    await using folder = await tempFolder();
    const config = SandboxConfig.parse({});
    await using opened = new AsyncDisposableStack();
    const engines = openEngines({ cacheDir: folder.path, config }).map((engine) => opened.use(engine));
    expect(offeredEngines(engines, config)).toEqual(engines);
  });
});

test("a folder of wheels in the config is Pyodide's, and must be there", async () => {
  await using folder = await tempFolder();
  await writeFile(join(folder.path, "six-1.17.0-py2.py3-none-any.whl"), "");
  const open = (wheels: string) => openEngines({ cacheDir: folder.path, config: SandboxConfig.parse({ wheels }) });
  const engines = open(folder.path);
  expect(engines.find(({ name }) => name === "pyodide")?.packages).toEqual(["six 1.17.0"]);
  await Promise.all(engines.map((engine) => engine[Symbol.asyncDispose]()));
  expect(() => open(join(folder.path, "absent"))).toThrow(expect.objectContaining({ code: "config.bad_value" }));
  expect(SandboxConfig.safeParse({ wheels: "wheels" }).success).toBe(false);
});

test("files come in up to 64 MiB and go out up to 16, unless the config says else", () => {
  expect(toInputBytes(SandboxConfig.parse({}))).toBe(64 * 1024 * 1024);
  expect(toInputBytes(SandboxConfig.parse({ inputMb: 1 }))).toBe(1024 * 1024);
  expect(toExecLimits(SandboxConfig.parse({}))).toMatchObject({ artifactBytes: 16 * 1024 * 1024 });
});

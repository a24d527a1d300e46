import { tmpdir } from "node:os";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import { openDockerEngine } from "../../src/sandbox/docker.ts";
import type { AllowConnect, ConnectEvent, Engine, ExecRequest, Language } from "../../src/sandbox/engine.ts";
import { dockerSocket, testImage } from "../support/docker.ts";
import { describeWith } from "../support/machine.ts";
import { inShort, openServer } from "./egress-support.ts";
import { testLimits } from "./hostile.ts";

const never = new AbortController().signal;

/** Plain HTTP to api.example.test, which is this machine, and nothing else. */
const allowConnect: AllowConnect = async ({ scheme, host }) => {
  if (scheme === "http" && host === "api.example.test") return ["127.0.0.1"];
  throw new CapstanError("permission.argument_refused", `${host} is not granted.`);
};

describeNetwork("docker", undefined);
describeNetwork("gvisor", "runsc");

function describeNetwork(needed: "docker" | "gvisor", runtime: string | undefined): void {
  describeWith(needed)(`a container with a network, by ${needed}`, () => {
    let engine: Engine;
    beforeAll(async () => {
      const memoryBytes = testLimits.memoryBytes;
      const image = await testImage();
      engine = openDockerEngine({ cacheDir: tmpdir(), socket: dockerSocket, image, runtime, memoryBytes, warm: 0 });
    });
    afterAll(() => engine[Symbol.asyncDispose]());

    async function run(language: Language, code: string, way: Partial<ExecRequest> = {}) {
      await using sandbox = await engine.open({ language, isNetworked: way.allowConnect !== undefined }, never);
      const request = { language, code, files: [], limits: testLimits, ...way };
      const { status, result, isolation } = await sandbox.run(request, never);
      return { status, result, network: isolation.network };
    }

    test("reaches what is allowed through its proxy, and nothing past it", async () => {
      await using server = await openServer("http");
      const events: ConnectEvent[] = [];
      const onConnect = (event: ConnectEvent): void => void events.push(event);
      const url = `http://api.example.test:${server.port}/`;
      const network = "network namespace (container), out of it by a proxy alone";
      const js = `await (await fetch(${JSON.stringify(url)})).text()`;
      expect(await run("javascript", js, { allowConnect, onConnect })).toEqual({
        status: "ok",
        result: "seen 1",
        network,
      });
      const py = `
import os, socket, urllib.error, urllib.request
def tell(work):
    try: return work()
    except urllib.error.HTTPError as error: return error.code
    except OSError as error: return type(error).__name__
[tell(lambda: urllib.request.urlopen("${url}").read().decode()),
 tell(lambda: urllib.request.urlopen("http://other.example.test:${server.port}/").read()),
 tell(lambda: socket.create_connection(("127.0.0.1", ${server.port}), 2)),
 tell(lambda: socket.getaddrinfo("api.example.test", 80)),
 tell(lambda: os.unlink("/capstan/egress"))]`;
      expect(await run("python", py, { allowConnect, onConnect })).toMatchObject({
        status: "ok",
        result: [
          "seen 2",
          403,
          "ConnectionRefusedError",
          "gaierror",
          expect.stringMatching(/^(?:OSError|PermissionError)$/),
        ],
      });
      expect(server.connections()).toBe(2);
      expect(inShort(events)).toEqual([
        `connected ${url.slice(0, -1)}`,
        `connected ${url.slice(0, -1)}`,
        `refused http://other.example.test:${server.port} permission.argument_refused`,
      ]);
      const without = `import os\n[os.path.exists("/capstan/egress"), "HTTP_PROXY" in os.environ]`;
      expect(await run("python", without)).toMatchObject({
        result: [false, false],
        network: "network namespace (container)",
      });
    });

    test("has one in each run of a session that asks for it, and in no other", async () => {
      await using server = await openServer("http");
      await using session = await engine.open({ language: "python", isSession: true, isNetworked: true }, never);
      const code = `
import urllib.error, urllib.request
try: told = urllib.request.urlopen("http://api.example.test:${server.port}/").read().decode()
except urllib.error.HTTPError as error: told = error.reason
told`;
      const told: unknown[] = [];
      for (const way of [{ allowConnect }, {}, { allowConnect }]) {
        told.push(
          (await session.run({ language: "python", code, files: [], limits: testLimits, ...way }, never)).result,
        );
      }
      expect(told).toEqual(["seen 1", "sandbox.network_refused", "seen 2"]);
    });
  });
}

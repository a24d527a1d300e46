import { chmodSync, readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect } from "vitest";
import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import { CapstanError } from "../../src/core/error.ts";
import type { AllowConnect, ConnectEvent, ExecRequest, Language } from "../../src/sandbox/engine.ts";
import { testWith } from "../support/machine.ts";
import { tempFolder } from "../support/temp.ts";
import { inShort, openServer } from "./egress-support.ts";
import { testLimits } from "./hostile.ts";

const engine = openBubblewrapEngine({ warm: 0 });
afterAll(() => engine[Symbol.asyncDispose]());
const never = new AbortController().signal;

/** Plain HTTP to api.example.test, which is this machine, and nothing else. */
const allowConnect: AllowConnect = async ({ scheme, host }) => {
  if (scheme === "http" && host === "api.example.test") return ["127.0.0.1"];
  throw new CapstanError("permission.argument_refused", `${host} is not granted.`);
};

async function run(language: Language, code: string, way: Partial<ExecRequest> = {}) {
  await using sandbox = await engine.open({ language, isNetworked: way.allowConnect !== undefined }, never);
  const request = { language, code, files: [], limits: testLimits, ...way };
  const { status, result, isolation, error } = await sandbox.run(request, never);
  return { status, result, network: isolation.network, error };
}

/** The folders of proxies, in a folder of this test alone that other users can walk through. */
const folder = await tempFolder();
chmodSync(folder.path, 0o711);
process.env["TMPDIR"] = folder.path;
afterAll(() => folder[Symbol.asyncDispose]());
const folders = () => readdirSync(folder.path);

describe("a sandbox of bubblewrap with a network", () => {
  testWith("bubblewrap")("reaches what is allowed through its proxy, and nothing past it", async () => {
    await using server = await openServer("http");
    const events: ConnectEvent[] = [];
    const onConnect = (event: ConnectEvent): void => void events.push(event);
    const url = `http://api.example.test:${server.port}/`;
    const network = "network namespace (bubblewrap), out of it by a proxy alone";

    const js = `await (await fetch(${JSON.stringify(`${url}js`)})).text()`;
    expect(await run("javascript", js, { allowConnect, onConnect })).toMatchObject({
      status: "ok",
      result: "seen 1",
      network,
    });
    const py = `
import socket, urllib.error, urllib.request
def tell(work):
    try: return work()
    except (urllib.error.HTTPError) as error: return error.code
    except OSError as error: return type(error).__name__
def through(path, request):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path); s.sendall(request); return s.recv(100).split(b"\\r\\n")[0].decode()
[tell(lambda: urllib.request.urlopen("${url}py").read().decode()),
 tell(lambda: urllib.request.urlopen("http://other.example.test:${server.port}/").read()),
 tell(lambda: socket.create_connection(("127.0.0.1", ${server.port}), 2)),
 tell(lambda: socket.getaddrinfo("api.example.test", 80)),
 tell(lambda: through("/capstan/egress", b"CONNECT 127.0.0.1:${server.port} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"))]`;
    expect(await run("python", py, { allowConnect, onConnect })).toMatchObject({
      status: "ok",
      result: ["seen 2", 403, "ConnectionRefusedError", "gaierror", "HTTP/1.1 403 permission.argument_refused"],
    });
    expect(server.seen).toHaveLength(2);
    expect(server.connections()).toBe(2);
    expect(inShort(events)).toEqual([
      `connected ${url.slice(0, -1)}`,
      `connected ${url.slice(0, -1)}`,
      `refused http://other.example.test:${server.port} permission.argument_refused`,
      `refused 127.0.0.1:${server.port} permission.argument_refused`,
    ]);
    const without = await run("python", `import os\n[os.path.exists("/capstan/egress"), "HTTP_PROXY" in os.environ]`);
    expect(without).toMatchObject({ result: [false, false], network: "network namespace (bubblewrap)" });
  });

  testWith("bubblewrap")("is for each run of a session anew: what one run opened is closed to the next", async () => {
    await using server = await openServer("http");
    await using session = await engine.open({ language: "python", isSession: true, isNetworked: true }, never);
    const tell = async (code: string, way: Partial<ExecRequest> = {}) =>
      (await session.run({ language: "python", code, files: [], limits: testLimits, ...way }, never)).result;
    const begin = `
import http.client, urllib.error, urllib.request
def ask(path):
    kept.request("GET", "http://api.example.test:${server.port}" + path)
    return kept.getresponse().read().decode()
def tell(work):
    try: return work()
    except urllib.error.HTTPError as error: return error.reason
    except (OSError, http.client.HTTPException) as error: return "closed"
def fetch(): return urllib.request.urlopen("http://api.example.test:${server.port}/").read().decode()
kept = http.client.HTTPConnection("127.0.0.1", 3128)
told = [ask("/a"), ask("/b"), tell(fetch)]
kept.auto_open = 0
told`;
    expect(await tell(begin, { allowConnect })).toEqual(["seen 1", "seen 2", "seen 3"]);
    const again = `[tell(lambda: ask("/kept")), tell(fetch)]`;
    expect(await tell(again)).toEqual(["closed", "sandbox.network_refused"]);
    const refuse: AllowConnect = () => Promise.reject(new CapstanError("permission.argument_refused", "Not granted."));
    expect(await tell(again, { allowConnect: refuse })).toEqual(["closed", "permission.argument_refused"]);
    expect(server.seen).toHaveLength(3);
    expect(await tell(`tell(fetch)`, { allowConnect })).toBe("seen 4");
  });

  testWith("bubblewrap")(
    "leaves no proxy behind: not after its run, nor when the engine is closed over it",
    async () => {
      const closed = openBubblewrapEngine({ warm: 0 });
      const sandbox = await closed.open({ language: "python", isNetworked: true }, never);
      expect(folders()).toHaveLength(1);
      const running = sandbox.run(
        { language: "python", code: "while True: pass", files: [], limits: testLimits },
        never,
      );
      await sleep(50);
      await closed[Symbol.asyncDispose]();
      expect(await running).toMatchObject({ status: "cancelled" });
      expect(folders()).toEqual([]);
      await expect(closed.open({ language: "python", isNetworked: true }, never)).rejects.toHaveProperty(
        "code",
        "sandbox.unavailable",
      );
    },
  );
});

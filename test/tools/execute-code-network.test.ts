import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Grant, UrlRule } from "../../src/permissions/grant.ts";
import { parseUrlRule } from "../../src/permissions/url-rule.ts";
import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import type { Resolve } from "../../src/tools/egress.ts";
import { openServer } from "../sandbox/egress-support.ts";
import { testTool, valueOf } from "../support/door.ts";
import { testWith } from "../support/machine.ts";
import { tempFolder } from "../support/temp.ts";
import { openCodeDoor } from "./code-door.ts";

const quickjs = openQuickjsEngine();
const bubblewrap = openBubblewrapEngine({ warm: 0 });
afterAll(() => Promise.all([quickjs, bubblewrap].map((engine) => engine[Symbol.asyncDispose]())));

/** Every name stands for this machine. */
const resolve: Resolve = () => Promise.resolve(["127.0.0.1"]);
const others = [
  testTool("look", { run: async () => ({ type: "done", value: "x", taint: ["mcp:other"] }) }),
  testTool("publish", { hints: { readOnly: false, destructive: false, idempotent: false, openWorld: true } }),
];
const open = () => openCodeDoor([quickjs, bubblewrap], { others, resolve });

function under(grant: Grant, net: readonly UrlRule[], tainted = false): { by: { grant: Grant } } {
  const tools = grant.rights.tools.map((right) => ({ ...right, tainted }));
  return { by: { grant: { ...grant, rights: { ...grant.rights, net: [...net], tools } } } };
}
/** `http://localhost:PORT` is granted by its name, so it may be this machine. */
const local = (port: number) => parseUrlRule(`http://localhost:${port}`);
const refused = (code: string) => expect.objectContaining({ name: "CapstanError", code });

/** Fetches each URL, one after the other; result: what each gave, or the code of its refusal. `between` runs before the last. */
const fetching = (urls: readonly string[], between = "pass") => `
import urllib.error, urllib.request
def get(url):
    try: return urllib.request.urlopen(url).read().decode()
    except urllib.error.HTTPError as error: return error.reason
urls = ${JSON.stringify(urls)}
told = [get(url) for url in urls[:-1]]
${between}
told + [get(urls[-1])]`;

describe("execute_code with a network", () => {
  testWith("bubblewrap")("reaches the hosts of its grant, on record, and brings in untrusted content", async () => {
    await using server = await openServer("http");
    await using capstan = await open();
    const [named, inner] = [`http://localhost:${server.port}`, `http://api.example.com:${server.port}`];
    const rules = under(capstan.grant, [local(server.port), parseUrlRule(inner)]);
    const code = fetching([named, inner, `http://evil.test:${server.port}`]);
    const asked = await capstan.run(code, { language: "python", network: true }, rules);
    expect(valueOf(asked.outcome)).toMatchObject({
      status: "ok",
      result: ["seen 1", "permission.argument_refused", "permission.argument_refused"],
      isolation: { engine: "bubblewrap", network: expect.stringContaining("proxy") },
    });
    expect(asked.taint).toEqual(["network"]);
    expect(server.seen).toEqual([`GET / localhost:${server.port}`]);
    const [call, ...acts] = (await capstan.audit()).map(({ entry }) => entry);
    expect(acts.map(({ action, name, decision, callId }) => [action, name, decision, callId === call?.callId])).toEqual(
      [
        ["net/connect", named, "allow", true],
        ["net/connect", inner, "deny", true],
        ["net/connect", `http://evil.test:${server.port}`, "deny", true],
      ],
    );

    const fetched = await capstan.run(`await fetch("https://evil.test")`, { network: true }, rules);
    expect(valueOf(fetched.outcome)).toMatchObject({
      status: "error",
      error: expect.stringMatching(/Not connected: evil\.test:443 permission\.argument_refused$/),
    });

    const js = await capstan.run(`typeof fetch`, {}, rules);
    expect(valueOf(js.outcome)).toMatchObject({ result: "undefined", isolation: { engine: "quickjs" } });
    expect(js.taint).toEqual([]);
  });

  testWith("bubblewrap")("sends nothing out after untrusted content, unless the right says so", async () => {
    await using server = await openServer("http");
    await using capstan = await open();
    const url = `http://localhost:${server.port}`;
    const net = [local(server.port)];
    const run = (code: string, rules: object, taint: readonly string[] = []) =>
      capstan.run(
        code,
        { language: "python", network: true },
        { by: { ...under(capstan.grant, net).by, ...rules, taint } },
      );
    await expect(run(fetching([url]), {}, ["mcp:other"])).rejects.toEqual(
      expect.objectContaining({
        code: "permission.approval_needed",
        message: expect.stringMatching(/A person must approve .*mcp:other.*--tainted execute_code/),
      }),
    );
    expect(server.connections()).toBe(0);

    const look = "tools.look()";
    const publish = `
try: tools.publish(text="x"); told.append("published")
except Exception as error: told.append(error.code)`;
    expect(valueOf((await run(fetching([url, url], look), {})).outcome)).toMatchObject({
      result: ["seen 1", "permission.approval_needed"],
    });
    expect(valueOf((await run(fetching([url, url], publish), {})).outcome)).toMatchObject({
      result: ["seen 2", "permission.approval_needed", "seen 3"],
    });
    const marked = await run(fetching([url, url], look + publish), under(capstan.grant, net, true).by, ["mcp:other"]);
    expect(valueOf(marked.outcome)).toMatchObject({ result: ["seen 4", "published", "seen 5"] });
  });

  testWith("bubblewrap")("sends no file of this machine out: not in its own call, nor in one after it", async () => {
    await using server = await openServer("http");
    await using folder = await tempFolder();
    await writeFile(join(folder.path, "table.csv"), "1");
    await using capstan = await open();
    const { grant } = under(capstan.grant, [local(server.port)]).by;
    const by = { grant: { ...grant, rights: { ...grant.rights, read: [folder.path] } } };
    const files = [{ path: "table.csv", from: join(folder.path, "table.csv") }];
    const networked = { language: "python", network: true };
    const code = fetching([`http://localhost:${server.port}`]);

    const sent = await capstan.run(code, { ...networked, files }, { by });
    expect(valueOf(sent.outcome)).toMatchObject({ result: ["permission.approval_needed"] });
    const read = await capstan.run(`files.read("table.csv")`, { files }, { by });
    expect([valueOf(read.outcome), read.taint]).toMatchObject([{ result: "1" }, ["files"]]);
    const later = capstan.run(code, networked, { by: { ...by, taint: read.taint } });
    await expect(later).rejects.toEqual(refused("permission.approval_needed"));
    expect(server.connections()).toBe(0);
    const written = await capstan.run(code, { ...networked, files: [{ path: "table.csv", text: "1" }] }, { by });
    expect(valueOf(written.outcome)).toMatchObject({ result: ["seen 1"] });
  });

  test("is refused at the door where the grant names no host, and on record", async () => {
    await using capstan = await open();
    await expect(capstan.run("1", { network: true })).rejects.toEqual(refused("permission.no_right"));
    expect((await capstan.audit()).map(({ entry }) => [entry.decision, entry.reason])).toEqual([
      ["deny", "permission.no_right"],
    ]);
    expect(valueOf((await capstan.run("1", { network: false })).outcome)).toMatchObject({ result: 1 });
  });

  testWith("bubblewrap")("in a session is had by the calls that ask for it, of one that began with it", async () => {
    await using server = await openServer("http");
    await using capstan = await open();
    const { grant } = under(capstan.grant, [local(server.port)], true).by;
    const by = { by: { grant: { ...grant, rights: { ...grant.rights, sessions: ["*"] } } } };
    const run = async (session: string, code: string, network: boolean) =>
      (await capstan.run(code, { language: "python", session, network }, by)).outcome;
    const url = `http://localhost:${server.port}`;
    expect(valueOf(await run("online", fetching([url]), true))).toMatchObject({ result: ["seen 1"] });
    expect(valueOf(await run("online", "told + [get(urls[0])]", false))).toMatchObject({
      result: ["sandbox.network_refused"],
    });
    expect(valueOf(await run("online", "get(urls[0])", true))).toMatchObject({ result: "seen 2" });
    expect(server.seen).toHaveLength(2);
    const acts = (await capstan.audit()).filter(({ entry }) => entry.action === "net/connect");
    expect(acts.map(({ entry }) => entry.decision)).toEqual(["allow", "allow"]);

    expect(valueOf(await run("offline", "x = 1\nx", false))).toMatchObject({ result: 1 });
    expect(await run("offline", "x", true)).toMatchObject({
      code: "sandbox.bad_request",
      content: [expect.objectContaining({ text: expect.stringContaining("began without a network") })],
    });
    expect(valueOf(await run("offline", "x", false))).toMatchObject({ result: 1 });
  });

  test("is not offered where no engine has one", async () => {
    await using offline = await openCodeDoor([quickjs], { resolve });
    const online = under(offline.grant, [parseUrlRule("api.example.com")]);
    await expect(offline.run("1", { network: true }, online)).rejects.toEqual(refused("tool.bad_arguments"));
    expect(valueOf((await offline.run("1", {}, online)).outcome)).toMatchObject({ result: 1 });
  });
});

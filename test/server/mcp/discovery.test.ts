import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/stdio.js";
import { describe, expect, test } from "vitest";
import { bin, environment } from "../../support/capstan.ts";
import { testTool } from "../../support/door.ts";
import { tempFolder } from "../../support/temp.ts";
import { fiveHundred } from "../../tools/discovery-tools.ts";
import { openOfferingServer } from "./offering-serve.ts";
import { envelope, type Message, textOf } from "./peer.ts";

const search = { discovery: "search", discoveryTokens: 0 } as const;
const entries = ["call_tool", "describe_tool", "search_tools"];
const eras = ["older", "modern"] as const;
const namesIn = ({ result }: Message) => result?.tools?.map(({ name }) => name);

/** A connection in an era, whose requests carry what they must. */
async function connect(
  server: Awaited<ReturnType<typeof openOfferingServer>>,
  era: (typeof eras)[number],
  grant = server.grant,
  capabilities = {},
) {
  const peer = server.connect(grant, true);
  if (era === "older") await peer.initialize(capabilities);
  const meta = era === "older" ? {} : envelope(capabilities);
  return {
    peer,
    list: () => peer.request("tools/list", { _meta: meta }),
    call: (name: string, args: object = {}) => peer.call(name, args, meta),
  };
}

describe.each(eras)("a server that lists what finds the rest, era %s", (era) => {
  test("lists the same for a grant on every connection, whatever was called before", async () => {
    await using server = await openOfferingServer({ more: fiveHundred, ...search });
    const one = await connect(server, era);
    const first = await one.list();
    expect(namesIn(first)).toEqual(entries);
    await one.call("search_tools", { query: "github issue" });
    await one.call("call_tool", { name: "echo", arguments: { text: "x" } });
    const two = await connect(server, era);
    expect((await one.list()).result).toEqual(first.result);
    expect((await two.list()).result).toEqual(first.result);
    const fewer = server.withRights("fewer", { tools: server.rightsTo(["echo", "rows"]) });
    expect(namesIn(await (await connect(server, era, fewer)).list())).toEqual(["echo", "rows"]);
  });

  test("lets what is not listed be found, described and called, by its own name and through call_tool", async () => {
    await using server = await openOfferingServer({ more: fiveHundred, ...search });
    const { call } = await connect(server, era);
    const found = await call("search_tools", { query: "open a new issue on GitHub", limit: 3 });
    expect(textOf(found)).toContain("github__create_issue");
    expect(textOf(await call("describe_tool", { name: "github__create_issue" }))).toContain("inputSchema");
    const direct = await call("github__create_issue", { id: "1" });
    const through = await call("call_tool", { name: "github__create_issue", arguments: { id: "1" } });
    expect(direct.result?.structuredContent).toEqual({ name: "create_issue" });
    expect(through.result).toEqual(direct.result);
  });

  test("decides, charges and records a call through call_tool under the name of the tool it is for", async () => {
    await using server = await openOfferingServer(search);
    const some = server.withRights("some", {
      tools: server.rightsTo(["echo", "search_tools", "describe_tool", "dump"]).map((right) => {
        if (right.name !== "echo") return right;
        const args = [{ name: "text", rule: { type: "exact", value: "x" } as const, optional: false }];
        return { ...right, args };
      }),
    });
    const { call } = await connect(server, era, { ...some, limits: { calls: 3 } });
    const echo = (args: object) => call("call_tool", { name: "echo", arguments: args });
    expect((await echo({ text: "x" })).result?.structuredContent).toEqual({ text: "x" });
    expect(textOf(await echo({ text: "y" }))).toMatch(/^permission\.argument_refused: /);
    expect(textOf(await echo({ text: "x", more: 1 }))).toMatch(/^tool\.bad_arguments: /);
    expect((await call("call_tool", { name: "move", arguments: { from: "a" } })).error?.code).toBe(-32_602);
    expect((await call("call_tool", { name: "call_tool", arguments: { name: "echo" } })).error?.code).toBe(-32_602);
    for (const args of [{}, { name: 5 }, { name: "echo", arguments: "{}" }, { name: "echo", args: {} }]) {
      expect(textOf(await call("call_tool", args))).toMatch(/^tool\.bad_arguments: /);
    }
    // Three calls were paid for: this is the second and the third, and no more.
    await echo({ text: "x" });
    await echo({ text: "x" });
    expect(textOf(await echo({ text: "x" }))).toMatch(/^budget\.calls: /);
    const rows = (await server.audit()).map(({ entry }) => `${entry.name} ${entry.decision}`);
    expect(rows).toEqual([
      ...["echo allow", "echo deny", "echo deny", "move deny", "call_tool deny"],
      ...["echo allow", "echo allow", "echo deny"],
    ]);
    expect(server.log).toEqual([]);
  });
});

describe("a question of a tool that is called through call_tool", () => {
  const params = { name: "call_tool", arguments: { name: "asks", arguments: { text: "form" } } };
  const answer = { action: "accept", content: { size: 5 } };

  test("is pushed to an older client and answered", async () => {
    await using server = await openOfferingServer(search);
    const { peer, call } = await connect(server, "older", server.grant, { elicitation: {} });
    const answered = call(params.name, params.arguments);
    const question = await peer.waitFor(({ method }) => method === "elicitation/create");
    peer.send({ jsonrpc: "2.0", id: question.id, result: answer });
    expect(textOf(await answered)).toContain('"size":5');
    expect(server.log).toEqual(["asks about form", "goes on with form"]);
  });

  test("goes to a modern client, whose answer is for that tool and no other", async () => {
    await using server = await openOfferingServer(search);
    const { peer, call } = await connect(server, "modern", server.grant, { elicitation: {} });
    const { result } = await call(params.name, params.arguments);
    const brought = {
      requestState: result?.requestState,
      inputResponses: { form: answer },
      _meta: envelope({ elicitation: {} }),
    };
    const other = { ...params, arguments: { name: "echo", arguments: { text: "form" } }, ...brought };
    expect((await peer.request("tools/call", other)).error?.code).toBe(-32_602);
    expect(textOf(await peer.request("tools/call", { ...params, ...brought }))).toContain('"size":5');
    expect(server.log).toEqual(["asks about form", "goes on with form"]);
  });
});

describe("call_tool", () => {
  test("over HTTP answers 403 for what is beyond the grant, in both eras, as the tool itself does", async () => {
    await using server = await openOfferingServer(search);
    const tools = server.rightsTo(["echo", "search_tools", "describe_tool"]);
    const args = [{ name: "text", rule: { type: "exact", value: "x" } as const, optional: false }];
    const token = server.tokenOf(
      server.withRights("http", { tools: tools.map((right) => (right.name === "echo" ? { ...right, args } : right)) }),
    );
    const accept = "application/json, text/event-stream";
    const headers = { "content-type": "application/json", authorization: `Bearer ${token}`, accept };
    const post = (params: object, more: Record<string, string> = {}) =>
      fetch(`${server.url}/mcp`, {
        method: "POST",
        headers: { ...headers, ...more },
        body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params }),
      });
    const modern = (name: string, given: object) =>
      post(
        { name, arguments: given, _meta: envelope() },
        { "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": name },
      );
    expect((await modern("echo", { text: "x" })).status).toBe(200);
    expect((await modern("call_tool", { name: "echo", arguments: { text: "x" } })).status).toBe(200);
    expect((await modern("call_tool", { name: "echo", arguments: { text: "y" } })).status).toBe(403);
    expect((await post({ name: "call_tool", arguments: { name: "echo", arguments: { text: "y" } } })).status).toBe(403);
    // In a session that is not there, what the grant allows comes as far as that.
    expect((await post({ name: "call_tool", arguments: { name: "echo", arguments: { text: "x" } } })).status).toBe(400);
  });

  test("reaches each of 500 tools under one token, and none that came after it", async () => {
    await using server = await openOfferingServer({ more: fiveHundred, ...search });
    const late = "github__create_issue";
    const tools = server.grant.rights.tools.filter(({ name }) => name !== late);
    const token = await server.permissions.issue(server.withRights("many", { tools }));
    const requestInit = { headers: { authorization: `Bearer ${token}` } };
    const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode: "auto" } });
    await client.connect(new StreamableHTTPClientTransport(new URL(`${server.url}/mcp`), { requestInit }));
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(entries);
    const through = (name: string) => client.callTool({ name: "call_tool", arguments: { name } });
    expect(await through("github__get_issue")).toMatchObject({ structuredContent: { name: "get_issue" } });
    expect(await through("weather__current_conditions")).not.toHaveProperty("isError");
    await expect(through(late)).rejects.toMatchObject({ code: -32_602 });
    await client.close();
  });

  test("is unknown where all is listed, and stands for a tool of that name where one is granted", async () => {
    await using all = await openOfferingServer({ discovery: "all" });
    const peer = all.connect();
    expect((await peer.call("call_tool", { name: "echo" }, envelope())).error?.code).toBe(-32_602);
    expect(namesIn(await peer.request("tools/list", { _meta: envelope() }))).not.toContain("call_tool");

    await using own = await openOfferingServer({ ...search, more: [testTool("call_tool")] });
    const other = own.connect();
    expect(namesIn(await other.request("tools/list", { _meta: envelope() }))).toEqual(entries.slice(1));
    const { result } = await other.call("call_tool", { text: "mine" }, envelope());
    expect(result?.structuredContent).toEqual({ text: "mine" });
  });

  test("stays callable where `auto` lists everything just now: a client may hold an older list", async () => {
    await using server = await openOfferingServer({ discovery: "auto", discoveryTokens: 100_000 });
    const peer = server.connect();
    expect(namesIn(await peer.request("tools/list", { _meta: envelope() }))).toContain("echo");
    const { result } = await peer.call("call_tool", { name: "echo", arguments: { text: "x" } }, envelope());
    expect(result?.structuredContent).toEqual({ text: "x" });
  });
});

describe("capstan serve --discovery search", () => {
  test("serves the official clients of both eras", async () => {
    await using home = await tempFolder();
    const args = [bin, "--home", home.path, "serve", "--discovery", "search"];
    const command = { command: process.execPath, args, env: environment, stderr: "ignore" as const };
    const identity = { name: "test", version: "1" };
    const product = { name: "call_tool", arguments: { name: "calculator", arguments: { expression: "6*7" } } };
    const shown = ["call_tool", "describe_tool", "execute_code", "search_tools"];

    const v1 = new ClientV1(identity);
    await v1.connect(new TransportV1(command));
    expect((await v1.listTools()).tools.map(({ name }) => name)).toEqual(shown);
    expect(await v1.callTool(product)).toMatchObject({ structuredContent: { result: "42" } });
    await v1.close();

    const v2 = new Client(identity, { versionNegotiation: { mode: "auto" } });
    await v2.connect(new StdioClientTransport(command));
    expect((await v2.listTools()).tools.map(({ name }) => name)).toEqual(shown);
    expect(await v2.callTool(product)).toMatchObject({ structuredContent: { result: "42" } });
    expect(await v2.callTool({ name: "calculator", arguments: { expression: "6*7" } })).toMatchObject({
      structuredContent: { result: "42" },
    });
    await v2.close();
  });
});

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { Grant } from "../../../src/permissions/grant.ts";
import { demandSendable } from "../../../src/server/mcp/large-reading.ts";
import { openOfferingServer, toText } from "./offering-serve.ts";
import { envelope, textOf } from "./peer.ts";

type Server = Awaited<ReturnType<typeof openOfferingServer>>;

/** What the tests ask of a client, on whichever transport and in whichever era. */
interface Connected extends AsyncDisposable {
  call(name: string, letters: number): Promise<unknown>;
  read(uri: string): Promise<unknown>;
  get(letters: number): Promise<unknown>;
}

const identity = { name: "test", version: "1" };
const toHeaders = (server: Server, grant: Grant) => ({ authorization: `Bearer ${server.tokenOf(grant)}` });

async function connectStdio(server: Server, grant: Grant, era: "older" | "modern"): Promise<Connected> {
  const peer = server.connect(grant);
  if (era === "older") await peer.initialize();
  const meta = era === "older" ? {} : envelope();
  const ask = async (method: string, params: object): Promise<unknown> => {
    const { result, error } = await peer.request(method, { ...params, _meta: meta });
    if (error !== undefined) throw Object.assign(new Error(error.message), error);
    return result;
  };
  return {
    call: async (name, letters) => (await peer.call(name, { text: String(letters) }, meta)).result,
    read: (uri) => ask("resources/read", { uri }),
    get: (letters) => ask("prompts/get", { name: "long", arguments: { letters: String(letters) } }),
    [Symbol.asyncDispose]: async () => peer.hangUp(),
  };
}

async function connectHttp(server: Server, grant: Grant, mode: "auto" | "legacy"): Promise<Connected> {
  const client = new Client(identity, { versionNegotiation: { mode } });
  const requestInit = { headers: toHeaders(server, grant) };
  await client.connect(new StreamableHTTPClientTransport(new URL(`${server.url}/mcp`), { requestInit }));
  return {
    call: (name, letters) => client.callTool({ name, arguments: { text: String(letters) } }),
    read: (uri) => client.readResource({ uri }),
    get: (letters) => client.getPrompt({ name: "long", arguments: { letters: String(letters) } }),
    [Symbol.asyncDispose]: () => client.close(),
  };
}

const legs: readonly (readonly [string, (server: Server, grant: Grant) => Promise<Connected>])[] = [
  ["stdio, 2025-11-25", (server, grant) => connectStdio(server, grant, "older")],
  ["stdio, 2026-07-28", (server, grant) => connectStdio(server, grant, "modern")],
  ["HTTP, 2026-07-28", (server, grant) => connectHttp(server, grant, "auto")],
  ["HTTP, sessions", (server, grant) => connectHttp(server, grant, "legacy")],
  [
    "HTTP+SSE",
    async (server, grant) => {
      const client = new ClientV1(identity);
      const requestInit = { headers: toHeaders(server, grant) };
      const headers = new Headers(requestInit.headers);
      const eventSourceInit = { fetch: (to: string | URL, init?: RequestInit) => fetch(to, { ...init, headers }) };
      await client.connect(new SSEClientTransport(new URL(`${server.url}/sse`), { requestInit, eventSourceInit }));
      return {
        call: (name, letters) => client.callTool({ name, arguments: { text: String(letters) } }),
        read: (uri) => client.readResource({ uri }),
        get: (letters) => client.getPrompt({ name: "long", arguments: { letters: String(letters) } }),
        [Symbol.asyncDispose]: () => client.close(),
      };
    },
  ],
];

const Result = z.object({
  isError: z.boolean().optional(),
  structuredContent: z.unknown().optional(),
  content: z.array(
    z.object({
      type: z.string(),
      text: z.string().optional(),
      uri: z.string().optional(),
      size: z.number().optional(),
    }),
  ),
});
const Read = z.object({ contents: z.array(z.object({ uri: z.string(), text: z.string() })) });

describe.each(legs)("a large result on %s", (_leg, connect) => {
  test("is a beginning and a link, by which all 12 MB are read, and the connection lives on", async () => {
    await using server = await openOfferingServer();
    await using client = await connect(server, server.reader);
    const letters = 12_000_000;
    const { content, isError } = Result.parse(await client.call("dump", letters));
    expect(isError).toBeUndefined();
    const [preview, link, ...more] = content;
    expect(more).toEqual([]);
    expect(preview?.text).toContain(`It begins:\n${toText(2_000)}…`);
    const { uri = "", size = 0 } = link ?? {};
    expect(size).toBe(Buffer.byteLength(toText(letters)));
    const parts: string[] = [];
    for (let part = 1; part <= Math.ceil(size / 1024 ** 2); part += 1) {
      parts.push(...Read.parse(await client.read(`${uri}/${part}`)).contents.map(({ text }) => text));
    }
    expect(parts.join("") === toText(letters)).toBe(true);
    expect(Result.parse(await client.call("echo", 5)).structuredContent).toEqual({ text: "5" });
  });

  test("has its like in a resource and a prompt, which are errors that say what to do", async () => {
    await using server = await openOfferingServer();
    await using client = await connect(server, server.reader);
    const code = (name: string) => ({
      code: -32_602,
      message: expect.stringMatching(`^(MCP error -32602: )?${name}: `),
    });
    await expect(client.read("big://9000000")).rejects.toMatchObject(code("resource.too_large"));
    await expect(client.get(9_000_000)).rejects.toMatchObject(code("prompt.too_large"));
    expect(JSON.stringify(await client.get(10))).toContain(toText(10));
    expect(Result.parse(await client.call("echo", 5)).structuredContent).toEqual({ text: "5" });
  });
});

describe("a large result", () => {
  test("with a schema is an error with a link; one that fits is not", async () => {
    await using server = await openOfferingServer();
    const peer = server.connect(server.reader);
    const fits = await peer.call("rows", { text: "20000" }, envelope());
    expect(fits.result).toMatchObject({ structuredContent: { rows: toText(20_000) } });
    expect(fits.result?.isError).toBeUndefined();
    const beyond = await peer.call("rows", { text: "40000" }, envelope());
    expect(beyond.result).toMatchObject({ isError: true, _meta: { "dev.capstan/code": "tool.too_large" } });
    expect(beyond.result?.content?.map(({ type }) => type)).toEqual(["text", "resource_link"]);
    expect(textOf(beyond)).toMatch(/^tool\.too_large: The call was carried out; don't repeat it\./);
  });

  test("comes whole to a grant that may not read what is kept, as far as an answer reaches", async () => {
    await using server = await openOfferingServer();
    const peer = server.connect();
    const whole = await peer.call("dump", { text: "300000" }, envelope());
    expect(textOf(whole) === toText(300_000)).toBe(true);
    const beyond = await peer.call("dump", { text: "5000000" }, envelope());
    expect(textOf(beyond)).toContain("This grant may not read it");
    const uri = /capstan:\S+/.exec(textOf(beyond))?.[0] ?? "";
    expect((await peer.request("resources/read", { uri, _meta: envelope() })).error?.code).toBe(-32602);
    // The lawful neighbour: an own grant that may read all of its user's.
    const reader = server.connect(server.reader);
    expect((await reader.request("resources/read", { uri, _meta: envelope() })).result).toBeDefined();
  });

  test("carries where it came from to whoever reads it", async () => {
    await using server = await openOfferingServer();
    const peer = server.connect(server.reader);
    const { result } = await peer.call("dirty", { text: "100000" }, envelope());
    const uri = String(result?.content?.[1]?.["uri"]);
    const other = server.withRights("other", { resources: [{ type: "any" }] });
    const later = server.connect(other);
    const move = () => later.call("move", { from: "a" }, envelope());
    expect((await move()).result?.isError).toBeUndefined();
    await later.request("resources/read", { uri, _meta: envelope() });
    expect(textOf(await move())).toMatch(/^permission\.approval_needed: .*mcp:web/);
  });

  test("that can't be kept says that the call was carried out", async () => {
    await using server = await openOfferingServer({ limits: { lifetimeMs: 60_000, count: 5, bytes: 100_000 } });
    const peer = server.connect(server.reader);
    const answer = await peer.call("dump", { text: "200000" }, envelope());
    expect(answer.result).toMatchObject({ isError: true, _meta: { "dev.capstan/code": "tool.too_large" } });
    expect(textOf(answer)).toContain("dump was carried out, but its result is too large to answer.");
    expect((await peer.call("dump", { text: "60000" }, envelope())).result?.isError).toBeUndefined();
  });
});

describe("a large resource", () => {
  const read = async (server: Server, grant: Grant, uri: string) =>
    await server.connect(grant).request("resources/read", { uri, _meta: envelope() });

  test("is read whole where an answer holds it, and kept and read in parts where none does", async () => {
    await using server = await openOfferingServer();
    expect((await read(server, server.reader, "big://3000000")).result).toBeDefined();
    const beyond = await read(server, server.reader, "big://9000000");
    expect(beyond.error).toMatchObject({ code: -32_602, data: { code: "resource.too_large", uri: "big://9000000" } });
    const [, uri = "", count = ""] = /parts: \S+\/1 to (\S+)\/(\d+)\./.exec(beyond.error?.message ?? "") ?? [];
    const texts: string[] = [];
    for (let part = 1; part <= Number(count); part += 1) {
      const { result } = await read(server, server.reader, `${uri}/${part}`);
      texts.push(...Read.parse(result).contents.map(({ text }) => text));
    }
    expect(texts.join("") === toText(9_000_000)).toBe(true);
  });

  test("is not kept for whoever may not read what is kept, nor in very many pieces", async () => {
    await using server = await openOfferingServer();
    const grant = server.withRights("big", { resources: [{ type: "one_of", values: ["big://9000000"] }] });
    for (const answer of [
      await read(server, grant, "big://9000000"),
      await read(server, server.reader, "big://500000/17"),
    ]) {
      expect(answer.error).toMatchObject({ data: { code: "resource.too_large" } });
      expect(answer.error?.message).toContain("Read parts of it");
    }
    expect(await server.artifacts.list({ ...server.grant, grant: server.grant }, { limit: 9 })).toEqual([]);
  });

  test("and a large prompt are measured in bytes", () => {
    expect(() => demandSendable("p", { text: "é".repeat(4_000_000) })).not.toThrow();
    expect(() => demandSendable("p", { text: "é".repeat(4_200_000) })).toThrow(/^The prompt p has 84\d{5} bytes/);
  });
});

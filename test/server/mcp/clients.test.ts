import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/stdio.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { describe, expect, test } from "vitest";

const fixture = join(import.meta.dirname, "fixture.ts");
const command = { command: process.execPath, args: [fixture], stderr: "ignore" as const };
const inspector = join(import.meta.dirname, "../../../node_modules/.bin/mcp-inspector");

/** What the tests ask of a client, whichever it is. */
interface Connected extends AsyncDisposable {
  readonly version: string | undefined;
  list(): Promise<readonly { readonly name: string }[]>;
  call(
    name: string,
    args: object,
    options?: { onprogress?: (p: object) => void; signal?: AbortSignal },
  ): Promise<object>;
  /** Errors that the client reported beside its answers. */
  readonly errors: readonly Error[];
  /** The forms that a person was shown. */
  readonly shown: readonly string[];
}

const capabilities = { elicitation: {} };
const identity = { name: "test", version: "1" };
const yes = { action: "accept" as const, content: { approve: true } };

/** The official client of the first SDK. */
async function connectV1(): Promise<Connected> {
  const client = new ClientV1(identity, { capabilities });
  const errors: Error[] = [];
  const shown: string[] = [];
  client.onerror = (error) => errors.push(error);
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
    shown.push(params.message);
    return yes;
  });
  await client.connect(new TransportV1(command));
  return {
    version: "2025-11-25",
    errors,
    shown,
    list: async () => (await client.listTools()).tools,
    call: (name, args, options) => client.callTool({ name, arguments: { ...args } }, undefined, options),
    [Symbol.asyncDispose]: () => client.close(),
  };
}

/** The official client of the second SDK, in one of its ways to find the era. */
async function connectV2(mode: "legacy" | "auto" | { pin: string }): Promise<Connected> {
  const client = new Client(identity, { capabilities, versionNegotiation: { mode } });
  const errors: Error[] = [];
  const shown: string[] = [];
  client.onerror = (error) => errors.push(error);
  client.setRequestHandler("elicitation/create", ({ params }) => {
    shown.push(params.message);
    return yes;
  });
  await client.connect(new StdioClientTransport(command));
  return {
    version: client.getNegotiatedProtocolVersion(),
    errors,
    shown,
    list: async () => (await client.listTools()).tools,
    call: (name, args, options) => client.callTool({ name, arguments: { ...args } }, options),
    [Symbol.asyncDispose]: () => client.close(),
  };
}

describe.each([
  ["v1", "2025-11-25", () => connectV1()],
  ["v2, told to use initialize", "2025-11-25", () => connectV2("legacy")],
  ["v2, finding the era itself", "2026-07-28", () => connectV2("auto")],
  ["v2, told the revision", "2026-07-28", () => connectV2({ pin: "2026-07-28" })],
])("the official client %s", (_name, version, connect) => {
  test("lists, calls, is refused, sees progress, cancels, and shows a person what to approve", async () => {
    await using client = await connect();
    expect(client.version).toBe(version);
    expect((await client.list()).map(({ name }) => name)).toContain("echo");
    // The client itself checks structured content against the output schema that was listed.
    expect(await client.call("echo", { text: "é\n" })).toMatchObject({ structuredContent: { text: "é\n" } });
    expect(await client.call("echo", { text: 5 })).toMatchObject({ isError: true });
    await expect(client.call("no_such_tool", {})).rejects.toMatchObject({ code: -32602 });

    const steps: object[] = [];
    await client.call("steps", {}, { onprogress: (step) => steps.push(step) });
    expect(steps[0]).toEqual({ progress: 0, total: 40, message: "step 0" });
    expect(steps.length).toBeGreaterThan(1);

    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    await expect(client.call("hangs", {}, { signal: controller.signal })).rejects.toThrow(/abort/i);

    expect(await client.call("move", { from: "a" })).toMatchObject({ structuredContent: { from: "a", to: "here" } });
    expect(client.shown).toEqual([expect.stringContaining('move {\n  "from": "a",\n  "to": "here"\n}')]);
    // Where progress and the result come in one piece, a client reads the result first, and finds nobody who waits for the progress.
    const isLate = ({ message }: Error): boolean =>
      message.startsWith("Received a progress notification for an unknown");
    expect(client.errors.filter((error) => !isLate(error))).toEqual([]);
  });
});

describe.each(["legacy", "auto", "modern"])("the Inspector's command line, era %s", (era) => {
  const inspect = async (...args: string[]): Promise<{ readonly result: unknown }> => {
    const all = [
      inspector,
      "--cli",
      "--protocol-era",
      era,
      ...args,
      "--format",
      "json",
      "--",
      process.execPath,
      fixture,
    ];
    const { stdout } = await promisify(execFile)(process.execPath, all, { timeout: 120_000 });
    return JSON.parse(stdout);
  };

  test("lists and calls", async () => {
    const { result: listed } = await inspect("--method", "tools/list");
    expect(listed).toMatchObject({ tools: expect.arrayContaining([expect.objectContaining({ name: "echo" })]) });
    const { result: called } = await inspect("--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hi");
    expect(called).toMatchObject({ structuredContent: { text: "hi" } });
  });
});

import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { type Message, envelope, textOf } from "./peer.ts";
import { openTestServer } from "./serve.ts";

describe("the era of a connection", () => {
  test.each(["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"])(
    "is the older one after initialize %s",
    async (version) => {
      await using server = await openTestServer();
      const peer = server.connect();
      const clientInfo = { name: "raw", version: "1" };
      const answer = await peer.request("initialize", { protocolVersion: version, capabilities: {}, clientInfo });
      expect(answer.result).toMatchObject({
        protocolVersion: version,
        capabilities: { tools: {} },
        serverInfo: { name: "capstan", version: "0.0.0-test" },
      });
      expect((await peer.request("ping")).result).toEqual({});
      expect((await peer.request("server/discover")).error?.code).toBe(-32601);
      expect((await peer.call("echo", { text: "x" })).result).toEqual({
        content: [{ type: "text", text: '{"text":"x"}' }],
        structuredContent: { text: "x" },
      });
    },
  );

  test("is offered as 2025-11-25 to a client that asks for an older one that nobody speaks", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    const clientInfo = { name: "raw", version: "1" };
    const answer = await peer.request("initialize", { protocolVersion: "1999-01-01", capabilities: {}, clientInfo });
    expect(answer.result?.["protocolVersion"]).toBe("2025-11-25");
  });

  test("is the modern one where requests name it, and their results say what they are", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    const discovered = await peer.request("server/discover", { _meta: envelope() });
    expect(discovered.result).toMatchObject({
      supportedVersions: ["2026-07-28"],
      capabilities: { tools: {} },
      resultType: "complete",
      cacheScope: "private",
      ttlMs: 60_000,
    });
    const listed = await peer.request("tools/list", { _meta: envelope() });
    expect(listed.result).toMatchObject({ resultType: "complete", cacheScope: "private", ttlMs: 60_000 });
    // What calls leave is listed at once, so that nobody may keep that list.
    const resources = await peer.request("resources/list", { _meta: envelope() });
    expect(resources.result).toMatchObject({ resultType: "complete", cacheScope: "private", ttlMs: 0 });
    expect((await peer.call("echo", { text: "x" }, envelope())).result).toMatchObject({
      resultType: "complete",
      structuredContent: { text: "x" },
    });
    expect((await peer.request("ping", { _meta: envelope() })).error?.code).toBe(-32601);
  });

  test("is the older one after server/discover when initialize follows", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.request("server/discover", { _meta: envelope() });
    expect((await peer.initialize()).result?.["protocolVersion"]).toBe("2025-11-25");
    expect((await peer.call("echo", { text: "x" })).result?.["resultType"]).toBeUndefined();
  });

  test("that is modern refuses a request without an envelope and one of another revision, each time", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.request("tools/list", { _meta: envelope() });
    expect((await peer.request("tools/list")).error?.code).toBe(-32602);
    const future = { ...envelope(), "io.modelcontextprotocol/protocolVersion": "2099-01-01" };
    for (const method of ["tools/list", "tools/call"]) {
      const answer = await peer.request(method, { name: "echo", _meta: future });
      expect(answer.error).toMatchObject({
        code: -32_022,
        data: { supported: ["2026-07-28"], requested: "2099-01-01" },
      });
    }
    expect(
      (
        await peer.request("initialize", {
          protocolVersion: "2025-11-25",
          capabilities: {},
          clientInfo: { name: "r", version: "1" },
        })
      ).error?.code,
    ).toBe(-32_022);
    expect((await peer.call("echo", { text: "x" }, envelope())).result?.isError).toBeUndefined();
  });
});

describe("tools/list", () => {
  test("shows each tool with its schemas and annotations, in the order of the names, the same each time", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize();
    const first = await peer.request("tools/list", {});
    const names = first.result?.tools?.map(({ name }) => name) ?? [];
    expect(names).toEqual(["asks", "echo", "fails", "hangs", "large", "logs", "move", "reads_web", "steps"]);
    expect(first.result?.tools?.find(({ name }) => name === "move")).toMatchObject({
      title: "Move",
      // An argument with a default is not required.
      inputSchema: { type: "object", required: ["from"], additionalProperties: false },
      annotations: {
        title: "Move",
        readOnlyHint: false,
        destructiveHint: true,
        idempotentHint: false,
        openWorldHint: true,
      },
    });
    expect(first.result?.tools?.find(({ name }) => name === "echo")?.["outputSchema"]).toMatchObject({
      type: "object",
    });
    expect((await peer.request("tools/list")).result).toEqual(first.result);
  });

  test.each(["x", "", 5])("has one page: the cursor %j is refused", async (cursor) => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize();
    expect((await peer.request("tools/list", { cursor })).error?.code).toBe(-32602);
  });
});

describe("tools/call", () => {
  test.each([
    ["an argument of the wrong type", { text: 5 }],
    ["an argument that the tool does not know", { text: "x", also: 1 }],
    ["too long an argument", { text: "x".repeat(1_001) }],
  ])("answers %s with a result that the model can read", async (_what, args) => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize();
    const answer = await peer.call("echo", args);
    expect(answer.result).toMatchObject({ isError: true, _meta: { "dev.capstan/code": "tool.bad_arguments" } });
    expect(textOf(answer)).toMatch(/^tool\.bad_arguments: /);
  });

  test.each([
    ["no name", {}],
    ["a name that is no text", { name: 5 }],
    ["arguments that are an array", { name: "echo", arguments: [] }],
    ["arguments that are null", { name: "echo", arguments: null }],
    ["arguments that are text", { name: "echo", arguments: "{}" }],
  ])("answers %s with -32602", async (_what, params) => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize();
    expect((await peer.request("tools/call", params)).error?.code).toBe(-32602);
    expect((await peer.call("echo", { text: "x" })).result?.isError).toBeUndefined();
  });

  test("tells nothing of the inside when a tool breaks", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize();
    const answer = await peer.call("fails");
    expect(answer.result?.isError).toBe(true);
    expect(JSON.stringify([answer, server.logged])).not.toMatch(/secret of the inside|\.ts:/);
  });

  test("carries a result of 4 MiB as JSON at most, and says so instead of cutting one that is larger", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize();
    // Each character is two bytes, and stands in the text and in the structured content.
    const fits = await peer.call("large", { text: "1000000" });
    expect(fits.result?.structuredContent).toEqual({ text: "é".repeat(1_000_000) });
    const large = await peer.call("large", { text: "1050000" });
    expect(large.result).toMatchObject({ isError: true, _meta: { "dev.capstan/code": "tool.too_large" } });
    expect(textOf(large)).toMatch(/was carried out, but its result has 4200\d{3} bytes/);
  });

  test("sends progress that only grows and never comes after the result", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize();
    const answer = await peer.call("steps", {}, { progressToken: "p" });
    await sleep(50);
    const steps = peer.received.filter(({ method }) => method === "notifications/progress").map(({ params }) => params);
    const reached = steps.map((params) => Number(params?.["progress"]));
    expect(steps[0]).toEqual({ progressToken: "p", progress: 0, total: 40, message: "step 0" });
    expect(reached).toEqual(reached.toSorted((a, b) => a - b));
    expect(new Set(reached).size).toBe(reached.length);
    // 40 steps of 10 ms, ten a second.
    expect(reached.length).toBeGreaterThan(1);
    expect(reached.length).toBeLessThan(12);
    expect(peer.received.at(-1)).toBe(answer);

    await peer.call("steps");
    expect(peer.received.filter(({ method }) => method !== undefined)).toHaveLength(steps.length);
  });

  test("that is cancelled stops its tool and is not answered", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize();
    peer.send({ jsonrpc: "2.0", id: "stuck", method: "tools/call", params: { name: "hangs" } });
    await expect.poll(() => server.log).toEqual(["hangs began"]);
    peer.send({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: "other" } });
    peer.send({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: "stuck", reason: "enough" } });
    await expect.poll(() => server.log).toEqual(["hangs began", "hangs ended"]);
    await peer.request("ping");
    expect(peer.received.filter(({ id }) => id === "stuck")).toEqual([]);
    // Its id is free again.
    peer.send({ jsonrpc: "2.0", id: "stuck", method: "tools/call", params: { name: "echo" } });
    expect((await peer.waitFor(({ id }) => id === "stuck")).result?.isError).toBeUndefined();
  });
});

describe("a connection", () => {
  test("keeps 2,000 interleaved requests with colliding ids apart from another's (B25)", async () => {
    await using server = await openTestServer();
    const peers = [server.connect(), server.connect()];
    await Promise.all(peers.map((peer) => peer.initialize()));
    for (let id = 0; id < 1_000; id += 1) {
      for (const [which, peer] of peers.entries()) {
        const params = { name: "echo", arguments: { text: `${which}/${id}` } };
        peer.send({ jsonrpc: "2.0", id, method: "tools/call", params });
      }
    }
    const isLast = ({ id }: Message): boolean => id === 999;
    await Promise.all(peers.map((peer) => peer.waitFor(isLast)));
    for (const [which, peer] of peers.entries()) {
      await expect.poll(() => peer.received.length).toBe(1_001);
      const answers = peer.received.slice(1).map(({ id, result }) => [id, result?.structuredContent]);
      expect(answers).toEqual(
        expect.arrayContaining([...Array(1_000).keys()].map((id) => [id, { text: `${which}/${id}` }])),
      );
    }
  });

  test("cancels and awaits what is in flight when the client hangs up", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize();
    peer.send({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "hangs" } });
    await expect.poll(() => server.log).toEqual(["hangs began"]);
    peer.hangUp();
    await peer.ended;
    expect(server.log).toEqual(["hangs began", "hangs ended"]);
  });

  test("answers what was sent before the client hung up", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize();
    peer.send({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "echo", arguments: { text: "last" } } });
    peer.hangUp();
    await peer.ended;
    expect(peer.received.at(-1)?.result?.structuredContent).toEqual({ text: "last" });
  });
});

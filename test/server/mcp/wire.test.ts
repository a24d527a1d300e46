import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { JSONRPCMessage } from "@modelcontextprotocol/server";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { slowCases } from "../../support/cases.ts";
import { openWire } from "../../../src/server/mcp/wire.ts";

/** A wire with a peer that writes lines and collects what comes back; every request is answered by `answer`. */
function connect(answer: (id: unknown) => object | null = () => ({})) {
  const input = new PassThrough();
  const output = new PassThrough();
  const controller = new AbortController();
  const received: JSONRPCMessage[] = [];
  const wire = openWire({ input, output, signal: controller.signal });
  let text = "";
  output.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  wire.onmessage = (message) => {
    received.push(message);
    if (!("method" in message) || !("id" in message)) return;
    const result = answer(message.id);
    if (result !== null) void wire.send({ jsonrpc: "2.0", id: message.id, result: { ...result } });
  };
  return {
    input,
    output,
    wire,
    received,
    abort: () => controller.abort(),
    replies: (): unknown[] =>
      text
        .split("\n")
        .slice(0, -1)
        .map((line): unknown => JSON.parse(line)),
    open: () => wire.start(),
  };
}

const request = (id: unknown, extra: object = {}): string =>
  `${JSON.stringify({ jsonrpc: "2.0", id, method: "ping", ...extra })}\n`;

const fault = (code: number, id: unknown = null): object => ({
  jsonrpc: "2.0",
  id,
  error: { code, message: expect.any(String) },
});

describe("openWire()", () => {
  test.each([
    ["a line that is no JSON", "{not json\n", fault(-32700)],
    [
      "a line that is no UTF-8",
      Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xff]), Buffer.from('"}\n')]),
      fault(-32700),
    ],
    ["a key that stands twice", '{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}\n', fault(-32600)],
    ["a batch", `[${request(1).trim()}]\n`, fault(-32600)],
    ["an empty batch", "[]\n", fault(-32600)],
    ["a number", "5\n", fault(-32600)],
    ["null", "null\n", fault(-32600)],
    ["another version of JSON-RPC", '{"jsonrpc":"1.0","id":7,"method":"ping"}\n', fault(-32600, 7)],
    ["no version", '{"id":"a","method":"ping"}\n', fault(-32600, "a")],
    ["a method that is a number", '{"jsonrpc":"2.0","id":7,"method":5}\n', fault(-32600, 7)],
    ["params that are an array", request(7, { params: [1] }), fault(-32600, 7)],
    ["a _meta that is no object", request(7, { params: { _meta: 5 } }), fault(-32600, 7)],
    ["a progress token that is an object", request(7, { params: { _meta: { progressToken: {} } } }), fault(-32600, 7)],
    ["a key that JSON-RPC does not know", request(7, { token: "x" }), fault(-32600, 7)],
    ["an id that is null", request(null), fault(-32600)],
    ["an id that is a fraction", request(1.5), fault(-32600)],
    ["an id that is an object", request({}), fault(-32600)],
    ["initialize without a version", request(7, { method: "initialize", params: {} }), fault(-32602, 7)],
  ])("answers %s with an error and lives on", async (_what, bytes, expected) => {
    const peer = connect();
    await peer.open();
    peer.input.write(bytes);
    peer.input.write(request("next"));
    await expect.poll(peer.replies).toEqual([expected, { jsonrpc: "2.0", id: "next", result: {} }]);
    expect(peer.received).toHaveLength(1);
  });

  test("lives on whatever is sent: each request that can be read is answered once, and nothing else is a request", async () => {
    const member = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom("2.0", "ping", "initialize", "tools/call", 1, "a"),
    );
    const message = fc.dictionary(fc.constantFrom("jsonrpc", "id", "method", "params", "result", "error", "x"), member);
    const line = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.json(),
      message.map((value) => JSON.stringify(value)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 30 }), async (lines) => {
        const peer = connect();
        await peer.open();
        peer.input.write(`${lines.join("\n")}\n${request("last one")}`);
        await expect.poll(peer.replies, { interval: 1 }).toContainEqual({ jsonrpc: "2.0", id: "last one", result: {} });
        const requests = peer.received.filter((each) => "method" in each && "id" in each);
        const results = peer.replies().filter((each) => typeof each === "object" && each !== null && "result" in each);
        expect(results).toHaveLength(requests.length);
        peer.abort();
      }),
      { numRuns: slowCases * 5 },
    );
  });

  test("answers no answer, whatever is wrong with it, and skips empty lines", async () => {
    const peer = connect();
    await peer.open();
    peer.input.write('\n\r\n{"id":5,"result":{}}\n{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}\n');
    peer.input.write(request("next"));
    await expect.poll(peer.replies).toEqual([{ jsonrpc: "2.0", id: "next", result: {} }]);
  });

  test("drops a line of 20 MB as it arrives, says so once and reads the next", async () => {
    const peer = connect();
    await peer.open();
    const part = Buffer.alloc(1024 * 1024, "x");
    for (let written = 0; written < 20; written += 1) {
      if (!peer.input.write(part)) await new Promise((resolve) => peer.input.once("drain", resolve));
    }
    peer.input.write("\n");
    peer.input.write(request(1));
    await expect.poll(peer.replies).toEqual([fault(-32600), { jsonrpc: "2.0", id: 1, result: {} }]);
  });

  test("answers a request that is too long under its id, where that stands before what is long or last", async () => {
    const peer = connect(() => null);
    await peer.open();
    peer.input.write(request("open"));
    const text = "x".repeat(17_000_000);
    const params = { name: "echo", arguments: { text, id: 9 } };
    const [method, jsonrpc] = ["tools/call", "2.0"];
    const long: readonly (readonly [message: object, id: string | number | null])[] = [
      [{ method, params, jsonrpc, id: 7 }, 7],
      [{ jsonrpc, id: "a", method, params }, "a"],
      [{ method, id: 3, params, jsonrpc }, 3],
      [{ params, method, jsonrpc, id: 4 }, null],
      [{ method, jsonrpc, params }, null],
      [{ method, params, jsonrpc, id: "open" }, null],
      [{ method, params, jsonrpc, id: 1.5 }, null],
      [{ jsonrpc, id: 6, result: { text } }, null],
      [{ result: { text }, jsonrpc, id: 6 }, null],
    ];
    for (const [message] of long) peer.input.write(`${JSON.stringify(message)}\n`);
    peer.input.write(`{"method":"m","id":1,"params":"${text}","id":1}\n`);
    await expect.poll(peer.replies).toEqual([...long.map(([, id]) => fault(-32600, id)), fault(-32600)]);
  });

  test("refuses a second request under an id that is unanswered, and leaves the first alone", async () => {
    const peer = connect(() => null);
    await peer.open();
    peer.input.write(request(1) + request(1) + request("1"));
    await expect.poll(peer.replies).toEqual([fault(-32600)]);
    expect(peer.received).toHaveLength(2);
    await peer.wire.send({ jsonrpc: "2.0", id: 1, result: {} });
    peer.input.write(request(1));
    await expect.poll(() => peer.received.length).toBe(3);
  });

  test("reads no further while 1024 requests are unanswered, and goes on when one is answered or cancelled", async () => {
    const peer = connect(() => null);
    await peer.open();
    for (let id = 0; id < 1_024; id += 1) peer.input.write(request(id));
    await expect.poll(() => peer.received.length).toBe(1_024);
    for (let id = 1_024; id < 9_000; id += 1) peer.input.write(request(id));
    await sleep(100);
    // One chunk is always read to its end.
    const held = peer.received.length;
    expect(held).toBeLessThan(2_500);
    for (let id = 0; id < held; id += 1) void peer.wire.send({ jsonrpc: "2.0", id, result: {} });
    await expect.poll(() => peer.received.length).toBeGreaterThan(held);
  });

  test("reads no further while the peer does not read", async () => {
    const big = { text: "x".repeat(10_000) };
    const peer = connect(() => big);
    peer.output.pause();
    await peer.open();
    const writing = (async () => {
      for (let id = 0; id < 20_000; id += 1) {
        if (!peer.input.write(request(id))) await new Promise((resolve) => peer.input.once("drain", resolve));
      }
    })();
    await sleep(300);
    expect(peer.received.length).toBeLessThan(3_000);
    peer.output.resume();
    await writing;
    await expect.poll(() => peer.received.length).toBe(20_000);
  });

  test("answers what was read before the end of input, then closes", async () => {
    const peer = connect(() => null);
    await peer.open();
    peer.input.end(request(1));
    await sleep(50);
    await peer.wire.send({ jsonrpc: "2.0", id: 1, result: { late: true } });
    await peer.wire.closed;
    expect(peer.replies()).toEqual([{ jsonrpc: "2.0", id: 1, result: { late: true } }]);
  });

  test("does not wait for subscriptions at the end of input: they last as long as the connection", async () => {
    const peer = connect(() => null);
    await peer.open();
    const start = performance.now();
    peer.input.end(request(1, { method: "subscriptions/listen" }));
    await peer.wire.closed;
    expect(performance.now() - start).toBeLessThan(900);
  });

  test("closes within about a second of the end of input although a request stays unanswered", async () => {
    const peer = connect(() => null);
    await peer.open();
    let closed = 0;
    peer.wire.onclose = () => {
      closed += 1;
    };
    const start = performance.now();
    peer.input.end(request(1));
    await peer.wire.closed;
    expect(performance.now() - start).toBeLessThan(30_000);
    await peer.wire.close();
    expect(closed).toBe(1);
  });

  test.each([
    ["its signal aborts", (peer: ReturnType<typeof connect>) => peer.abort()],
    ["its output breaks", (peer: ReturnType<typeof connect>) => peer.output.destroy(new Error("EPIPE"))],
    ["its input breaks", (peer: ReturnType<typeof connect>) => peer.input.destroy(new Error("EIO"))],
  ])("closes when %s, and sending after that is silent", async (_what, end) => {
    const peer = connect();
    await peer.open();
    end(peer);
    await peer.wire.closed;
    await peer.wire.send({ jsonrpc: "2.0", method: "notifications/message", params: {} });
    expect(peer.replies()).toEqual([]);
  });
});

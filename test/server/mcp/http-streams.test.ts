import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { handClock } from "../../support/clock.ts";
import { testTool } from "../../support/door.ts";
import { openOlder, readEvents } from "./http-older.ts";
import { openHttpServer } from "./http-serve.ts";
import { envelope } from "./peer.ts";

/** A request of revision 2026-07-28 as fetch takes it. */
function toModern(token: string, method: string, params: Record<string, unknown>, signal: AbortSignal | null = null) {
  const headers = {
    "content-type": "application/json",
    authorization: `Bearer ${token}`,
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": method,
    ...(typeof params["name"] === "string" ? { "mcp-name": params["name"] } : {}),
  };
  const meta = { ...envelope(), "io.modelcontextprotocol/logLevel": "debug" };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: { ...params, _meta: meta } });
  return { method: "POST", headers, body, signal };
}

const listen = { notifications: { toolsListChanged: true } };
const nothing = { sessions: 0, streams: 0, requests: 0 };

/** One open stream of each kind. */
async function openStreams(url: string, token: string) {
  const older = openOlder(url);
  const session = await older.begin(token);
  const modern = await fetch(`${url}/mcp`, toModern(token, "subscriptions/listen", listen));
  return [await older.listen(token, "/mcp", session), await older.beginSse(token), readEvents(modern)];
}

/** Whether each has ended. */
const areEnded = (streams: Awaited<ReturnType<typeof openStreams>>): Promise<boolean[]> =>
  Promise.all(streams.map(({ ended }) => Promise.race([ended.then(() => true), sleep(50).then(() => false)])));

describe("a stream", () => {
  test.each(["revoked", "expired"])("ends soon after its grant is %s, and no other does", async (how) => {
    const clock = handClock();
    await using server = await openHttpServer({ clock });
    const { grant, permissions } = server;
    const short = server.tokenOf({ ...grant, id: "short", expiresAt: grant.issuedAt + 60_000 });
    const streams = await openStreams(server.url, short);
    const others = await openStreams(server.url, server.tokenOf());
    expect([await areEnded(streams), await areEnded(others)].flat()).toEqual(Array(6).fill(false));
    if (how === "revoked") await permissions.revoke("short", "test");
    else clock.advance(61_000);
    await expect.poll(() => areEnded(streams)).toEqual([true, true, true]);
    expect(await areEnded(others)).toEqual([false, false, false]);
    // The session of the stream that ended lives on: another token of its user may go on.
    expect(server.counts()).toMatchObject({ sessions: 3, streams: 3 });
  });

  test("that its client does not read is cut off and its call cancelled, one that is read gets everything", async () => {
    const line = "x".repeat(1024 * 1024);
    let told = 0;
    let received = 0;
    // Server and client share this process: a client that reads must not fall behind only because the machine is busy.
    let keepPace = async (bytes: number): Promise<void> => {
      await expect.poll(() => received, { interval: 1 }).toBeGreaterThanOrEqual(bytes);
    };
    const floods = testTool("floods", {
      async run(_args, { log, signal }) {
        for (let count = 0; count < 40; count += 1, told += 1) {
          log({ level: "info", data: line });
          await sleep(5, undefined, { signal });
          await keepPace(count * line.length);
        }
        return { type: "done", value: {} };
      },
    });
    await using server = await openHttpServer({ more: [floods] });
    const request = toModern(server.tokenOf(), "tools/call", { name: "floods" });
    const { body } = await fetch(`${server.url}/mcp`, request);
    for await (const chunk of body ?? []) received += chunk.length;
    expect([told, received > 40 * line.length]).toEqual([40, true]);
    expect(server.faults).toEqual([]);

    told = 0;
    keepPace = () => Promise.resolve();
    const { port, host } = new URL(server.url);
    const stuck = connect(Number(port), "127.0.0.1").on("error", () => {});
    stuck.pause();
    await once(stuck, "connect");
    const head = Object.entries({ host, "content-length": String(request.body.length), ...request.headers });
    const lines = ["POST /mcp HTTP/1.1", ...head.map(([name, value]) => `${name}: ${value}`), "", request.body];
    stuck.write(lines.join("\r\n"));
    await expect.poll(() => server.faults.length).toBe(1);
    expect(server.faults).toMatchObject([{ code: "mcp.slow_client" }]);
    await expect.poll(server.counts).toEqual(nothing);
    expect(told).toBeLessThan(40);
    stuck.destroy();
  });
});

describe("a client that goes away", () => {
  test.each(["modern", "mcp", "sse"])("cancels its open call and leaves nothing (%s)", async (leg) => {
    await using server = await openHttpServer();
    const older = openOlder(server.url);
    const token = server.tokenOf();
    const leaving = new AbortController();
    const call = { id: 1, method: "tools/call", params: { name: "hangs" } };
    if (leg === "modern") {
      fetch(`${server.url}/mcp`, toModern(token, call.method, call.params, leaving.signal)).catch(() => {});
    } else if (leg === "mcp") {
      older.post(token, await older.begin(token), call, leaving.signal).catch(() => {});
    } else {
      const stream = await older.beginSse(token);
      leaving.signal.addEventListener("abort", stream.leave);
      await older.post(token, stream.path, call);
    }
    await expect.poll(() => server.log).toEqual(["hangs began"]);
    leaving.abort();
    await expect.poll(() => server.log).toEqual(["hangs began", "hangs ended"]);
    const left = leg === "mcp" ? { ...nothing, sessions: 1 } : nothing;
    await expect.poll(server.counts).toEqual(left);
    expect(server.faults).toEqual([]);
  });

  test("in the middle of what it sends is no fault", async () => {
    await using server = await openHttpServer();
    const { port, host } = new URL(server.url);
    const head = `POST /mcp HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${server.tokenOf()}\r\n`;
    const socket = connect(Number(port), "127.0.0.1");
    socket.write(`${head}content-type: application/json\r\ncontent-length: 100\r\n\r\n{"a`);
    await expect.poll(server.counts).toMatchObject({ requests: 1 });
    socket.destroy();
    await expect.poll(server.counts).toEqual(nothing);
    expect(server.faults).toEqual([]);
  });
});

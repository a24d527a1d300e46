import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import type { Resolve } from "../../../src/host/mcp/guarded-fetch.ts";
import { guardedFetch, refusalIn } from "../../../src/host/mcp/guarded-fetch.ts";

/** A server on loopback that counts what reaches it. */
async function openServer(answer: (request: IncomingMessage, response: ServerResponse) => unknown) {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(request.url ?? "");
    answer(request, response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("the server has no port");
  return {
    port: address.port,
    url: `http://127.0.0.1:${address.port}/`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** The code of the CapstanError behind a rejection of `fetch`, or what it was. */
async function refusalOf(fetched: Promise<unknown>): Promise<string> {
  const [settled] = await Promise.allSettled([fetched]);
  if (settled.status === "fulfilled") return "fulfilled";
  return refusalIn(settled.reason)?.code ?? String(settled.reason);
}

/** A name server that answers what the test says, one list after the other. */
function resolver(...answers: readonly (readonly string[])[]): Resolve & { readonly asked: string[] } {
  const asked: string[] = [];
  const resolve: Resolve = (host, callback) => {
    const addresses = answers[Math.min(asked.length, answers.length - 1)] ?? [];
    asked.push(host);
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );
  };
  return Object.assign(resolve, { asked });
}

describe("guardedFetch()", () => {
  test("B31: refuses private addresses, other schemes, shell syntax and user info by their spelling", async () => {
    await using server = await openServer((_, response) => response.end("inside"));
    const fetch = guardedFetch(false);
    const attacks = [
      server.url,
      `https://127.0.0.1:${server.port}/`,
      `https://localhost:${server.port}/`,
      `https://[::1]:${server.port}/`,
      `https://[::ffff:127.0.0.1]:${server.port}/`,
      `https://2130706433:${server.port}/`,
      "https://10.0.0.1/.well-known/oauth-protected-resource",
      "https://169.254.169.254/latest/meta-data",
      "http://example.com/",
      "file:///etc/passwd",
      "$(touch /tmp/owned)",
      "https://user:secret@example.com/",
      "javascript:alert(1)",
    ];
    for (const attack of attacks) expect([attack, await refusalOf(fetch(attack))]).toEqual([attack, "mcp.url_refused"]);
    expect(server.requests).toEqual([]);
    expect(await (await guardedFetch(true)(server.url)).text()).toBe("inside");
  });

  test("B31: refuses a public name that leads to a private address", async () => {
    const resolve = resolver(["10.0.0.1"]);
    expect(await refusalOf(guardedFetch(false, resolve)("https://mcp.example.com/"))).toBe("mcp.url_refused");
    expect(await refusalOf(guardedFetch(false, resolver(["93.184.215.14", "::1"]))("https://mcp.example.com/"))).toBe(
      "mcp.url_refused",
    );
    await using server = await openServer((_, response) => response.end("inside"));
    const lawful = guardedFetch(true, resolver(["127.0.0.1"]));
    expect(await (await lawful(`http://mcp.example.com:${server.port}/`)).text()).toBe("inside");
  });

  test("B31: connects to the address that was checked, whatever the name server says next", async () => {
    await using server = await openServer((_, response) => response.end("inside"));
    // Were the name resolved again to connect, the connection would go to an address where nobody listens.
    const resolve = resolver(["127.0.0.1"], ["127.0.0.2"]);
    const response = await guardedFetch(true, resolve)(`http://mcp.example.com:${server.port}/`);
    expect(await response.text()).toBe("inside");
    expect(resolve.asked).toEqual(["mcp.example.com"]);
  });

  test("sends nothing in the clear to a public address, private servers allowed or not", async () => {
    const fetch = guardedFetch(true, resolver(["93.184.215.14"]));
    expect(await refusalOf(fetch("http://mcp.example.com/"))).toBe("mcp.url_refused");
    expect(await refusalOf(fetch("http://93.184.215.14/"))).toBe("mcp.url_refused");
  });

  test("B31: answers a redirect as it is and follows it nowhere", async () => {
    await using inside = await openServer((_, response) => response.end("inside"));
    await using server = await openServer((_, response) => response.writeHead(302, { location: inside.url }).end());
    for (const redirect of ["follow", "manual"] as const) {
      const response = await guardedFetch(true)(server.url, { redirect });
      expect([response.status, response.headers.get("location")]).toEqual([302, inside.url]);
      await response.text();
    }
    expect(inside.requests).toEqual([]);
  });

  test("sends method, headers and every form of body, and answers headers that stand twice", async () => {
    await using server = await openServer(async (request, response) => {
      const body = await Array.fromAsync(request, (chunk: Buffer) => chunk.toString());
      response.writeHead(
        201,
        [
          ["set-cookie", "a"],
          ["set-cookie", "b"],
          ["x-seen", `${request.method} ${String(request.headers["x-a"])}`],
        ].flat(),
      );
      response.end(`${request.headers["content-type"]}|${body.join("")}`);
    });
    const fetch = guardedFetch(true);
    const form = await fetch(server.url, {
      method: "POST",
      headers: new Headers({ "x-a": "1" }),
      body: new URLSearchParams({ a: "b c" }),
    });
    expect([form.status, form.headers.get("x-seen"), form.headers.getSetCookie()]).toEqual([201, "POST 1", ["a", "b"]]);
    expect(await form.text()).toBe("application/x-www-form-urlencoded;charset=UTF-8|a=b+c");
    const text = await fetch(server.url, { method: "POST", headers: { "content-type": "x/y" }, body: "ü" });
    expect(await text.text()).toBe("x/y|ü");
  });

  test("bounds what is read whole, and lets event streams go on", async () => {
    const twoMegabytes = Buffer.alloc(2 * 1024 * 1024, "x");
    await using server = await openServer((_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).end(twoMegabytes);
    });
    const fetch = guardedFetch(true);
    // What calls itself a stream, and was not asked for one, is a document.
    await expect((await fetch(server.url)).text()).rejects.toThrow(/larger than 1048576 bytes/);
    const stream = await fetch(server.url, { headers: { accept: "application/json, text/event-stream" } });
    expect((await stream.text()).length).toBe(twoMegabytes.length);
  });

  test("streams: a part is there before the end, a reader that leaves ends the request, and so does its signal", async () => {
    const closed: Promise<unknown>[] = [];
    await using server = await openServer((_, response) => {
      closed.push(once(response, "close"));
      response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
    });
    const headers = { accept: "text/event-stream" };
    const left = (await guardedFetch(true)(server.url, { headers })).body?.getReader();
    expect(Buffer.from((await left?.read())?.value ?? "").toString()).toBe("data: 1\n\n");
    await left?.cancel();
    await closed[0];

    const controller = new AbortController();
    const aborted = (await guardedFetch(true)(server.url, { headers, signal: controller.signal })).body?.getReader();
    await aborted?.read();
    const next = aborted?.read();
    controller.abort(new Error("enough"));
    await expect(next).rejects.toThrow("aborted");
    await closed[1];
    expect(closed).toHaveLength(2);
  });

  test("ends a stream by its signal however long it has been open", async () => {
    const gone = Promise.withResolvers<void>();
    await using server = await openServer((_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).write("a");
      response.on("close", gone.resolve);
    });
    const ending = new AbortController();
    const headers = { accept: "text/event-stream" };
    const { body } = await guardedFetch(true)(server.url, { headers, signal: ending.signal });
    const reader = body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("a");
    setFlagsFromString("--expose-gc");
    const collect: unknown = runInNewContext("gc");
    if (typeof collect !== "function") throw new Error("nothing collects garbage");
    for (let round = 0; round < 3; round += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      collect();
    }
    ending.abort();
    await gone.promise;
  });

  test("sends nothing on a connection that the server has closed", async () => {
    await using server = await openServer((_, response) => {
      const { socket } = response;
      response.setHeader("content-length", 1).end("a", () => socket?.end());
    });
    const fetch = guardedFetch(true);
    for (let round = 0; round < 20; round += 1) expect(await (await fetch(server.url)).text()).toBe("a");
  });

  test("takes it when a reader leaves an answer that is there already, and serves the next", async () => {
    await using server = await openServer((_, response) => response.end("all of it"));
    const fetch = guardedFetch(true);
    for (let times = 0; times < 20; times++) await (await fetch(server.url)).body?.cancel();
    expect(await (await fetch(server.url)).text()).toBe("all of it");
  });

  test("rejects with the signal's reason before the answer, and with a TypeError where nobody listens", async () => {
    await using server = await openServer(() => {});
    const reason = new Error("enough");
    await expect(guardedFetch(true)(server.url, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const waiting = guardedFetch(true)(server.url, { signal: controller.signal });
    setTimeout(() => controller.abort(reason), 50);
    await expect(waiting).rejects.toBe(reason);
    const unused = await openServer(() => {});
    await unused[Symbol.asyncDispose]();
    await expect(guardedFetch(true)(unused.url)).rejects.toThrow(
      new TypeError(`GET ${new URL(unused.url).origin} failed: ECONNREFUSED`),
    );
  });
});

import { describe, expect, test } from "vitest";
import { accessDenied } from "../../src/sandbox/egress/refusal.ts";
import type { AllowConnect } from "../../src/sandbox/engine.ts";
import {
  captureHello,
  get,
  handshake,
  inShort,
  openProxy,
  openRawServer,
  openServer,
  openTunnel,
  send,
} from "./egress-support.ts";

/** Whatever it is asked, so that what is refused here is refused by the proxy itself. */
const allowAll: AllowConnect = () => Promise.resolve(["127.0.0.1"]);

const lastLine = (answer: string): string => answer.trimEnd().split("\n").at(-1) ?? "";

describe("a host that is no plain name", () => {
  const odd = [
    ...["127.1", "0x7f000001", "0x7f.1", "2130706433", "0177.0.0.1", "127.0.0.1."],
    ...["[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]", "[fe80::1%25lo]", "[::1", "::1"],
    ...[
      "api.example.test.",
      "user@api.example.test",
      "user:secret@api.example.test",
      "api.example.test\\@other",
      "%61pi.example.test",
    ],
    ...["\u00e4pi.example.test", "api.example\u3002test", "", "*", `${"a".repeat(60)}.`.repeat(5)],
  ];
  const ports = ["", ":", ":0", ":00443", ":65536", ":-1", ":443x", ":443:443", ":4 43"];

  test("is refused, whatever is granted, and a plain one leads there", async () => {
    await using server = await openServer("http");
    await using proxy = await openProxy([], {}, allowAll);
    const authorities = [
      ...odd.map((host) => `${host}:${server.port}`),
      ...ports.map((port) => `api.example.test${port}`),
    ];
    for (const authority of authorities) {
      const connected = await send(proxy, Buffer.from(`CONNECT ${authority} HTTP/1.1\r\nHost: x\r\n\r\n`), /\r\n\r\n/);
      expect(connected, authority).toMatch(/^HTTP\/1\.1 400 /);
      if (authority === "api.example.test") continue;
      const asked = await send(
        proxy,
        Buffer.from(`GET http://${authority}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
      );
      expect(asked, authority).toMatch(/^HTTP\/1\.1 400 /);
    }
    expect(server.connections()).toBe(0);
    for (const authority of ["api.example.test", "127.0.0.1", "[::1]", "API.Example.TEST"].map(
      (host) => `${host}:${server.port}`,
    )) {
      const asked = await send(proxy, `GET http://${authority}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
      expect(asked, authority).toContain("200 OK");
    }
    expect(server.seen).toHaveLength(4);
  });

  test("is no way to the proxy itself, nor to other schemes", async () => {
    await using proxy = await openProxy([], {}, allowAll);
    for (const url of [
      "/",
      "*",
      "https://api.example.test/",
      "ftp://api.example.test/",
      "file:///etc/passwd",
      "//a.test/",
    ]) {
      const answer = await send(
        proxy,
        `OPTIONS ${url} HTTP/1.1\r\nHost: api.example.test\r\nConnection: close\r\n\r\n`,
      );
      expect(answer, url).toMatch(/^HTTP\/1\.1 400 /);
    }
  });
});

describe("a hello for another server", () => {
  test("goes nowhere: another name, no name, a hidden name", async () => {
    await using server = await openRawServer((socket) => socket.on("data", (bytes) => socket.write(bytes)));
    const authority = `api.example.test:${server.port}`;
    await using proxy = await openProxy([`https://${authority}`]);
    const say = async (name: string): Promise<string> => {
      const hello = await captureHello(name);
      const socket = await openTunnel(proxy, authority);
      let got = Buffer.alloc(0);
      socket.on("data", (chunk: Buffer) => {
        got = Buffer.concat([got, chunk]);
        if (got.length >= hello.length) socket.destroy();
      });
      socket.write(hello);
      await new Promise((resolve) => socket.on("close", resolve));
      return got.equals(hello) ? "arrived" : got.equals(accessDenied) ? "denied" : got.toString("latin1");
    };
    expect(await say("other.example.test")).toBe("denied");
    expect(await say("")).toBe("denied");
    expect(await say("api.example.test.evil.test")).toBe("denied");
    expect(await say("pi.example.test")).toBe("denied");
    expect(await say("api.example.test")).toBe("arrived");
    expect(proxy.events.filter(({ outcome }) => outcome === "refused")).toHaveLength(4);
    expect(proxy.events[0]?.why).toContain('names the server "other.example.test"');
  });

  test("is told to the client as TLS tells it", async () => {
    await using server = await openServer("https");
    const authority = `api.example.test:${server.port}`;
    await using proxy = await openProxy([`https://${authority}`]);
    await expect(handshake(proxy, authority, "other.example.test")).rejects.toThrow(/access denied/i);
    expect(await get(await handshake(proxy, authority, "api.example.test"), "x")).toContain("seen 1");
  });
});

describe("what is not the protocol that is granted", () => {
  test("does not go through a tunnel", async () => {
    const came: string[] = [];
    await using server = await openRawServer((socket) =>
      socket.on("data", (bytes) => came.push(bytes.toString("latin1"))),
    );
    const [secure, plain] = [`api.example.test:${server.port}`, `plain.example.test:${server.port}`];
    await using proxy = await openProxy([`https://${secure}`, `http://${plain}`], { headMs: 300 });
    const ask = async (authority: string, spoken: string | Buffer) =>
      lastLine(
        await send(
          proxy,
          Buffer.concat([Buffer.from(`CONNECT ${authority} HTTP/1.1\r\nHost: x\r\n\r\n`), Buffer.from(spoken)]),
        ),
      );
    expect(await ask(secure, "SSH-2.0-x\r\n\r\n")).not.toContain("SSH");
    expect(await ask(secure, `GET / HTTP/1.1\r\nHost: ${secure}\r\n\r\n`)).toMatch(/^permission\.argument_refused: /);
    expect(await ask(plain, await captureHello("plain.example.test"))).toBe(accessDenied.toString("latin1"));
    expect(await ask(plain, `CONNECT ${secure} HTTP/1.1\r\nHost: x\r\n\r\n`)).toMatch(
      /^sandbox\.bad_request: .*tunnel/,
    );
    expect(await ask(plain, `GET http://${secure}/ HTTP/1.1\r\nHost: ${secure}\r\n\r\n`)).toMatch(
      /^sandbox\.bad_request: /,
    );
    expect(came).toEqual([]);
    void ask(plain, `GET /lawful HTTP/1.1\r\nHost: ${plain}\r\n\r\n`);
    await expect.poll(() => came.join("")).toMatch(/^GET \/lawful HTTP/);
  });
});

describe("a request for another host", () => {
  test("on a kept connection is checked like the first", async () => {
    await using server = await openServer("http");
    const [granted, other] = [`api.example.test:${server.port}`, `other.example.test:${server.port}`];
    await using proxy = await openProxy([`http://${granted}`]);
    const ask = (authority: string, host = authority) => `GET http://${authority}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
    const answers = await send(proxy, ask(granted) + ask(granted, other) + ask(other, granted));
    expect(answers.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 200", "HTTP/1.1 403"]);
    expect(server.seen).toEqual([`GET / ${granted}`, `GET / ${granted}`]);
    expect(inShort(proxy.events).toSorted()).toEqual([
      `connected http://${granted}`,
      `connected http://${granted}`,
      `refused http://${other} permission.argument_refused`,
    ]);
  });

  test("is not smuggled in: what two parsers read apart is refused, and a body stays a body", async () => {
    const came: string[] = [];
    await using server = await openRawServer((socket) =>
      socket.on("data", (bytes) => {
        came.push(bytes.toString("latin1"));
        socket.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      }),
    );
    const url = `http://api.example.test:${server.port}/`;
    await using proxy = await openProxy([`http://api.example.test:${server.port}`]);
    const hidden = "GET /hidden HTTP/1.1\r\nHost: other.example.test\r\n\r\n";
    const chunked = "Transfer-Encoding: chunked\r\n";
    const attacks = [
      `POST ${url} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n${chunked}\r\n0\r\n\r\n${hidden}`,
      `POST ${url} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\n${hidden}`,
      `POST ${url} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${hidden}`,
      `POST ${url} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n${hidden}`,
      `GET ${url} HTTP/1.1\r\nHost: x\r\nX: a\nEvil: b\r\n\r\n`,
      `GET ${url}a b HTTP/1.1\r\nHost: x\r\n\r\n${hidden}`,
    ];
    for (const attack of attacks) expect(await send(proxy, attack), attack).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(came).toEqual([]);

    // Without a framing header of its own this body would be read as a second request.
    const named = `Connection: close, content-length\r\nContent-Length: ${hidden.length}\r\n`;
    expect(await send(proxy, `GET ${url} HTTP/1.1\r\nHost: x\r\n${named}\r\n${hidden}`)).toContain("200 OK");
    expect(came.join("").match(/content-length.*/gi)).toEqual([`Content-Length: ${hidden.length}`]);
    came.length = 0;
    expect(
      await send(
        proxy,
        `GET ${url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${chunked}\r\n${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`,
      ),
    ).toContain("200 OK");
    expect(came.join("")).toMatch(/Transfer-Encoding: chunked\r\n[^]*\r\n\r\n[0-9a-f]+\r\nGET \/hidden/);
  });

  test("is not spoken on a connection that was turned into another protocol", async () => {
    const came: string[] = [];
    await using server = await openRawServer((socket) =>
      socket.on("data", (bytes) => {
        came.push(bytes.toString("latin1"));
        socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
      }),
    );
    const authority = `api.example.test:${server.port}`;
    await using proxy = await openProxy([`http://${authority}`]);
    const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    const hidden = "GET /hidden HTTP/1.1\r\nHost: other.example.test\r\n\r\n";
    const answer = await send(proxy, `GET http://${authority}/ HTTP/1.1\r\nHost: x\r\n${upgrade}\r\n${hidden}`, /502/);
    expect(answer).toMatch(/HTTP\/1\.1 502 sandbox\.unreachable/);
    expect(came.join("")).toMatch(/^GET \/ HTTP/);
    expect(came.join("")).not.toMatch(/upgrade|hidden/i);
  });

  test("is not made by the proxy when a server redirects there", async () => {
    await using inner = await openServer("http");
    await using server = await openServer("http", () => ({
      status: 302,
      headers: { location: `http://127.0.0.1:${inner.port}/` },
    }));
    await using proxy = await openProxy([`http://api.example.test:${server.port}`]);
    const ask = (authority: string) =>
      send(proxy, `GET http://${authority}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    const answer = await ask(`api.example.test:${server.port}`);
    expect(answer).toMatch(/^HTTP\/1\.1 302 /);
    expect(await ask(/http:\/\/([^/]+)/.exec(answer)?.[1] ?? "")).toMatch(/^HTTP\/1\.1 403 /);
    expect(inner.connections()).toBe(0);
  });
});

test("heads of any size are refused, one within the limit goes through", async () => {
  await using server = await openServer("http");
  const authority = `api.example.test:${server.port}`;
  await using proxy = await openProxy([`http://${authority}`]);
  const ask = (size: number) =>
    send(proxy, `GET http://${authority}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: ${"x".repeat(size)}\r\n\r\n`);
  expect(await ask(20_000)).toMatch(/^HTTP\/1\.1 431 /);
  expect(await ask(10_000)).toMatch(/^HTTP\/1\.1 200 /);
  expect(await send(proxy, `CONNECT ${"a".repeat(20_000)}:443 HTTP/1.1\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
  expect(server.seen).toHaveLength(1);
});

import { createHash } from "node:crypto";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, statSync } from "node:fs";
import { mkdir, readdir, utimes } from "node:fs/promises";
import { connect } from "node:net";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { openEgress } from "../../src/sandbox/egress.ts";
import type { ConnectEvent } from "../../src/sandbox/engine.ts";
import { sweepEgress } from "../../src/sandbox/egress/sweep.ts";
import { testWith } from "../support/machine.ts";
import { tempFolder } from "../support/temp.ts";
import { accessDenied } from "../../src/sandbox/egress/refusal.ts";
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

/** RFC 8446, 4.1.3: the random value of a HelloRetryRequest. */
const retryRandom = createHash("sha256").update("HelloRetryRequest").digest();

describe("the way out through TLS", () => {
  test("leads to the server that CONNECT and the hello name", async () => {
    await using server = await openServer("https");
    const authority = `api.example.test:${server.port}`;
    await using proxy = await openProxy([`https://${authority}`]);
    expect(await get(await handshake(proxy, authority, "api.example.test"), "api.example.test", "/a")).toContain(
      "seen 1",
    );
    // Upper case is the same name.
    await get(await handshake(proxy, authority.toUpperCase(), "API.example.test"), "api.example.test", "/b");
    expect(server.seen).toEqual([
      "api.example.test GET /a api.example.test",
      expect.stringMatching(/^api\.example\.test GET \/b /i),
    ]);
    expect(inShort(proxy.events)).toEqual([`connected https://${authority}`, `connected https://${authority}`]);
  });

  test("leads to an address that is granted, where the hello names no server", async () => {
    await using server = await openServer("https");
    const authority = `127.0.0.1:${server.port}`;
    await using proxy = await openProxy([`https://${authority}`]);
    expect(await get(await handshake(proxy, authority, ""), authority)).toContain("seen 1");
    await expect(handshake(proxy, authority, "api.example.test")).rejects.toThrow(/access denied/i);
    expect(server.seen).toHaveLength(1);
  });

  test("carries a second hello, where the server asks for one, and none for another server", async () => {
    await using server = await openServer("https", undefined, { ecdhCurve: "P-256" });
    const authority = `api.example.test:${server.port}`;
    await using proxy = await openProxy([`https://${authority}`]);
    // The client offers a key that the server can't use, so it is asked for another one.
    const asked = { minVersion: "TLSv1.3", ecdhCurve: "P-384:P-256" } as const;
    expect(await get(await handshake(proxy, authority, "api.example.test", asked), "x")).toContain("seen 1");

    const [lawful, other] = [await captureHello("api.example.test", asked), await captureHello("other.example.test")];
    const tunnel = `CONNECT ${authority} HTTP/1.1\r\nHost: x\r\n\r\n`;
    const answer = await send(proxy, Buffer.concat([Buffer.from(tunnel), lawful, other]));
    // The retry request of the server, then the alert of the proxy; no second answer of the server.
    expect(answer).toContain(retryRandom.toString("latin1"));
    expect(answer.endsWith(accessDenied.toString("latin1"))).toBe(true);
    expect(inShort(proxy.events).at(-1)).toBe(`refused https://${authority} sandbox.network_refused`);
    expect(server.seen).toHaveLength(1);
  });

  test.for(["TLSv1.2", "TLSv1.3"] as const)("carries %s", async (version) => {
    await using server = await openServer("https");
    const authority = `api.example.test:${server.port}`;
    await using proxy = await openProxy([`https://${authority}`]);
    const over = { minVersion: version, maxVersion: version };
    const tls = await handshake(proxy, authority, "api.example.test", over);
    expect(tls.getProtocol()).toBe(version);
    expect(await get(tls, "x")).toContain("seen 1");
  });
});

describe("the way out by plain HTTP", () => {
  test("leads to the server of each URL, with its body and without what is the proxy's", async () => {
    await using server = await openServer("http");
    const authority = `api.example.test:${server.port}`;
    await using proxy = await openProxy([`http://${authority}`]);
    const post =
      `POST http://${authority}/a?b=c HTTP/1.1\r\nHost: other.example.test\r\nContent-Length: 4\r\n` +
      "Proxy-Authorization: Basic eA==\r\nConnection: content-length, x-gone\r\nX-Gone: 1\r\n\r\nbody";
    const chunked = `PUT http://${authority} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nmore\r\n0\r\n\r\n`;
    const answers = await send(proxy, post + chunked);
    expect(answers.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
    expect(server.seen).toEqual([`POST /a?b=c ${authority} body`, `PUT / ${authority} more`]);
    expect(inShort(proxy.events)).toEqual([`connected http://${authority}`, `connected http://${authority}`]);
  });

  test("leads through a tunnel too, as some clients do it", async () => {
    await using server = await openServer("http");
    const authority = `api.example.test:${server.port}`;
    await using proxy = await openProxy([`http://${authority}`]);
    expect(await get(await openTunnel(proxy, authority), authority, "/a")).toContain("seen 1");
    const body = "x".repeat(300_000);
    const head = `CONNECT ${authority} HTTP/1.1\r\nHost: x\r\n\r\n`;
    const post = `POST /p HTTP/1.1\r\nHost: ${authority}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const last = `GET /l HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n\r\n`;
    expect(await send(proxy, head + post + last)).toMatch(/seen 2[^]*seen 3/);
    const other = await get(await openTunnel(proxy, authority), "other.example.test", "/b");
    expect(other).toContain("400 sandbox.bad_request");
    expect(server.seen).toEqual([`GET /a ${authority}`, `POST /p ${authority} ${body}`, `GET /l ${authority}`]);
  });

  test("tells what a server does that breaks off", async () => {
    await using server = await openRawServer((socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Le"));
    const authority = `api.example.test:${server.port}`;
    await using proxy = await openProxy([`http://${authority}`, "https://api.example.test:1"]);
    expect(await send(proxy, `GET http://${authority}/ HTTP/1.1\r\nHost: x\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 502 sandbox\.unreachable/,
    );
    await expect(openTunnel(proxy, "api.example.test:1")).rejects.toThrow("502 sandbox.unreachable");
  });
});

describe("the proxy of an execution", () => {
  test("is closed to others of the machine, and goes away with all that it held", async () => {
    await using server = await openRawServer(() => undefined);
    const authority = `api.example.test:${server.port}`;
    const proxy = await openProxy([`https://${authority}`]);
    expect(statSync(dirname(proxy.socketPath)).mode & 0o777).toBe(0o700);
    const tunnel = await openTunnel(proxy, authority);
    const half = connect(proxy.socketPath).on("error", () => undefined);
    half.write("CONNECT api.exam");
    await sleep(20);
    await proxy[Symbol.asyncDispose]();
    await sleep(20);
    expect([tunnel.destroyed || tunnel.readableEnded, half.destroyed || half.readableEnded]).toEqual([true, true]);
    expect(existsSync(dirname(proxy.socketPath))).toBe(false);
  });

  testWith("linux")("leaves nothing behind where it can't be opened", async () => {
    await using folder = await tempFolder();
    // There is no such user, which shows once it listens.
    const opening = openEgress({ folder: folder.path, guestUid: 2 ** 33 });
    await expect(opening).rejects.toMatchObject({ code: "sandbox.unavailable" });
    expect(readFileSync("/proc/net/unix", "utf8")).not.toContain(folder.path);
    expect(await readdir(folder.path)).toEqual([]);
  });

  test("is swept when its Capstan was killed, and only then", async () => {
    await using folder = await tempFolder();
    const path = (name: string) => join(folder.path, name);
    for (const name of ["capstan-egress-young", "capstan-egress-old", "other"]) await mkdir(path(name));
    await utimes(path("capstan-egress-old"), new Date(0), new Date(0));
    await using living = await openEgress({ folder: folder.path });
    using _ = living.begin({});
    const program = `import { createServer } from "node:net"; createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))`;
    await mkdir(path("capstan-egress-killed"));
    const killed = spawn(process.execPath, ["--input-type=module", "-e", program, path("capstan-egress-killed/proxy")]);
    await once(killed, "close");
    expect(existsSync(path("capstan-egress-killed/proxy"))).toBe(true);
    await sweepEgress(folder.path);
    const left = ["capstan-egress-young", basename(dirname(living.socketPath)), "other"].toSorted();
    expect((await readdir(folder.path)).toSorted()).toEqual(left);
    expect(await send(living, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).toMatch(/^HTTP\/1\.1 400 /);
  });

  test("ends when its bytes are used up, either way, and says so", async () => {
    const flood = Buffer.alloc(64 * 1024, "x");
    await using server = await openRawServer((socket) => {
      socket.once("data", () => socket.end(Buffer.concat([Buffer.from("HTTP/1.1 200 OK\r\n\r\n"), flood])));
    });
    const authority = `api.example.test:${server.port}`;
    await using proxy = await openProxy([`http://${authority}`], { bytes: 32 * 1024 });
    const ask = `GET http://${authority}/ HTTP/1.1\r\nHost: x\r\n\r\n`;
    expect((await send(proxy, ask)).length).toBeLessThan(flood.length);
    expect(await send(proxy, ask)).toMatch(/403 sandbox\.network_refused[^]*32768 bytes/);
    const url = `http://${authority}`;
    const refused = `refused ${url} sandbox.network_refused`;
    expect(inShort(proxy.events)).toEqual([`connected ${url}`, refused, refused]);
  });

  test("listens no more when its connections are used up, granted or not", async () => {
    await using server = await openServer("http");
    const authority = `api.example.test:${server.port}`;
    await using proxy = await openProxy([`http://${authority}`], { connections: 2 });
    const ask = (host: string) => send(proxy, `GET http://${host}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    expect([await ask(authority), await ask("other.example.test"), await ask(authority), await ask(authority)]).toEqual(
      [
        expect.stringContaining("200 OK"),
        expect.stringContaining("403 permission.argument_refused"),
        expect.stringContaining("403 sandbox.network_refused"),
        "",
      ],
    );
    expect(server.seen).toHaveLength(1);
    const [url, other] = [`http://${authority}`, "http://other.example.test:80"];
    const last = `refused ${url} sandbox.network_refused`;
    expect(inShort(proxy.events)).toEqual([`connected ${url}`, `refused ${other} permission.argument_refused`, last]);
  });

  test("leads nowhere before and after a run, and forgets with it what it had used", async () => {
    await using folder = await tempFolder();
    await using server = await openServer("http");
    await using proxy = await openEgress({ folder: folder.path, limits: { connections: 1 } });
    const ask = `GET http://api.example.test:${server.port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
    const told: string[] = [];
    const allowConnect = () => Promise.resolve(["127.0.0.1"]);
    const onConnect = ({ outcome }: ConnectEvent): void => void told.push(outcome);
    expect(await send(proxy, ask)).toBe("");
    for (const run of [1, 2]) {
      const running = proxy.begin({ allowConnect, onConnect });
      expect(await send(proxy, ask)).toContain(`seen ${run}`);
      running[Symbol.dispose]();
      expect(await send(proxy, ask)).toBe("");
    }
    expect([server.connections(), told]).toEqual([2, ["connected", "connected"]]);
  });

  test("drops connections beyond those it takes at a time", async () => {
    await using proxy = await openProxy([], { parallel: 1 });
    const first = connect(proxy.socketPath).on("error", () => undefined);
    await sleep(20);
    const ask = "GET http://a.example.test/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    expect([await send(proxy, ask), await send(proxy, ask)]).toEqual(["", ""]);
    first.destroy();
    await sleep(20);
    expect(await send(proxy, ask)).toContain("403 permission.argument_refused");
    expect(inShort(proxy.events)).toEqual([
      "refused one more sandbox.network_refused",
      "refused http://a.example.test:80 permission.argument_refused",
    ]);
  });

  test("gives the place of a client that it refused to the next one, even of one that never stops", async () => {
    const authority = "api.example.test:443";
    const limits = { parallel: 1, headMs: 1_000, idleMs: 3_600_000 };
    await using proxy = await openProxy([`http://${authority}`], limits);
    const ask = "GET http://other.example.test/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    const tunnel = Buffer.from(`CONNECT ${authority} HTTP/1.1\r\nHost: x\r\n\r\n`);
    const hello = await captureHello("api.example.test");
    const refuse = async () => {
      const client = connect({ path: proxy.socketPath, allowHalfOpen: true })
        .on("error", () => undefined)
        .resume();
      client.write(Buffer.concat([tunnel, hello]));
      await once(client, "end");
      return client;
    };
    (await refuse()).destroy();
    await expect.poll(() => send(proxy, ask)).toContain("403 permission.argument_refused");
    const talking = await refuse();
    const talk = setInterval(() => talking.write("x"), 10);
    await expect.poll(() => send(proxy, ask)).toContain("403 permission.argument_refused");
    clearInterval(talk);
    talking.destroy();
  });

  test("tells what came that was not in form, cut, and as often as connections may be asked for", async () => {
    await using server = await openServer("http");
    const authority = `api.example.test:${server.port}`;
    await using proxy = await openProxy([`http://${authority}`], { connections: 6 });
    const ask = (url: string) => send(proxy, `GET ${url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    await ask("http://api.example.test.:80/");
    await send(proxy, "CONNECT 127.1:443 HTTP/1.1\r\nHost: x\r\n\r\n");
    await ask(`ftp://${"a".repeat(1_000)}/`);
    await send(proxy, "SSH-2.0-x\r\n\r\n");
    expect(await ask(`http://${authority}/`)).toContain("200 OK");
    expect(inShort(proxy.events)).toEqual([
      'refused "http://api.example.test.:80/" sandbox.bad_request',
      'refused "127.1:443" sandbox.bad_request',
      expect.stringMatching(/^refused "ftp:\/\/a{194}" sandbox\.bad_request$/),
      "refused no request sandbox.bad_request",
      `connected http://${authority}`,
    ]);
    for (let more = 0; more < 5; more += 1) await send(proxy, "SSH-2.0-x\r\n\r\n");
    expect(proxy.events).toHaveLength(7);
  });

  test("has no more connections out than it takes at a time, however many are asked for at once", async () => {
    let [open, most] = [0, 0];
    await using server = await openRawServer((socket) => {
      most = Math.max(most, (open += 1));
      socket.on("close", () => (open -= 1));
      socket.once("data", () => setTimeout(() => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 5));
    });
    const authority = `api.example.test:${server.port}`;
    await using proxy = await openProxy([`http://${authority}`], { parallel: 3 });
    const asked = Array.from({ length: 12 }, () => `GET http://${authority}/ HTTP/1.1\r\nHost: x\r\n\r\n`).join("");
    const answers = await send(proxy, asked, /(HTTP\/1\.1 200[^]*){12}/);
    expect(answers.match(/HTTP\/1\.1 200/g)).toHaveLength(12);
    // The server hears of an end a little later than the proxy does.
    expect(most).toBeLessThanOrEqual(6);
  });

  test("waits for no one who is slow: heads, hellos, silence", async () => {
    await using server = await openRawServer(() => undefined);
    const authority = `api.example.test:${server.port}`;
    await using proxy = await openProxy([`https://${authority}`], { headMs: 200, idleMs: 600 });
    const startedAt = performance.now();
    const tunnel = `CONNECT ${authority} HTTP/1.1\r\nHost: x\r\n\r\n`;
    const answers = await Promise.all([
      send(proxy, "GET http://a.exa"),
      send(proxy, tunnel),
      send(proxy, Buffer.concat([Buffer.from(tunnel), Buffer.from([22, 3, 1, 2, 0, 1, 0])])),
      send(proxy, ""),
    ]);
    expect(performance.now() - startedAt).toBeLessThan(60_000);
    expect(answers.map((answer) => answer.split("\r\n", 1)[0])).toEqual([
      "HTTP/1.1 408 Request Timeout",
      "HTTP/1.1 200 Connected",
      "HTTP/1.1 200 Connected",
      expect.any(String),
    ]);
  });
});

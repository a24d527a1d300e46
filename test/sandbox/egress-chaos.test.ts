import { array, assert, asyncProperty, constantFrom, integer, oneof, record, uint8Array } from "fast-check";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { slowCases } from "../support/cases.ts";
import { captureHello, openProxy, openRawServer, send } from "./egress-support.ts";

test("whatever clients send, and whenever they or servers leave, the proxy serves the next one and keeps nothing", async () => {
  let open = 0;
  // A server that answers in pieces, some of them nonsense, and leaves at different moments.
  const answers = [
    "HTTP/1.1 200 OK\r\n",
    "Content-Length: 3\r\n\r\n",
    "abc",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "\0\r\n\r\n",
    "",
  ];
  let turn = 0;
  await using server = await openRawServer((socket) => {
    open += 1;
    socket.on("close", () => (open -= 1));
    socket.on("data", () => {
      const answer = answers[(turn += 1) % answers.length] ?? "";
      if (answer === "") socket.resetAndDestroy();
      else socket.write(answer);
    });
  });
  await using lawful = await openRawServer((socket) =>
    socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")),
  );
  const [wild, tame] = [`wild.example.test:${server.port}`, `tame.example.test:${lawful.port}`];
  await using proxy = await openProxy([`http://${wild}`, `https://${wild}`, `http://${tame}`], {
    connections: 1_000_000,
    headMs: 500,
    idleMs: 500,
  });
  const hello = await captureHello("wild.example.test");
  const parts = [
    ...[`CONNECT ${wild} HTTP/1.1\r\nHost: x\r\n\r\n`, `GET http://${wild}/ HTTP/1.1\r\nHost: x\r\n\r\n`],
    ...[
      `POST http://${wild}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n`,
      `GET / HTTP/1.1\r\nHost: ${wild}\r\n\r\n`,
    ],
    ...[
      `POST / HTTP/1.1\r\nHost: ${wild}\r\nTransfer-Encoding: chunked\r\n\r\n`,
      "5\r\nhello\r\n",
      "0\r\n\r\n",
      "\r\n",
    ],
    ...[hello, hello.subarray(0, 50), hello.subarray(50), Buffer.from([20, 3, 3, 0, 1, 1]), "CONNECT ", "GET http://"],
  ].map((part) => Buffer.from(part));
  const step = record({
    bytes: oneof(
      { weight: 4, arbitrary: constantFrom(...parts) },
      { weight: 1, arbitrary: uint8Array({ maxLength: 50 }) },
    ),
    waitMs: constantFrom(0, 0, 1, 5),
  });
  const client = record({
    steps: array(step, { minLength: 1, maxLength: 8 }),
    leaves: constantFrom("end", "destroy"),
    lastMs: integer({ min: 0, max: 10 }),
  });

  await assert(
    asyncProperty(array(client, { minLength: 1, maxLength: 6 }), async (clients) => {
      await Promise.all(
        clients.map(async ({ steps, leaves, lastMs }) => {
          const socket = connect(proxy.socketPath).on("error", () => undefined);
          socket.resume();
          for (const { bytes, waitMs } of steps) {
            socket.write(bytes);
            await sleep(waitMs);
          }
          await sleep(lastMs);
          if (leaves === "end") socket.end();
          else socket.destroy();
          setTimeout(() => socket.destroy(), 20).unref();
        }),
      );
      const answer = await send(proxy, `GET http://${tame}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
      expect(answer).toMatch(/^HTTP\/1\.1 200 [^]*ok$/);
    }),
    { numRuns: 2 * slowCases },
  );
  await expect.poll(() => open).toBe(0);
});

import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, Socket } from "node:net";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { openChannels, splitFrames } from "../../src/sandbox/docker/channels.ts";
import { launcherInJavaScript, launcherInPython } from "../../src/sandbox/docker/launcher.ts";
import { pureCases } from "../support/cases.ts";

const frame = (channel: number, content: Uint8Array): Buffer => {
  const header = Buffer.alloc(8);
  header.writeUInt8(channel);
  header.writeUInt32BE(content.length, 4);
  return Buffer.concat([header, content]);
};

test("frames are split the same however their bytes arrive", () => {
  const frames = fc.array(fc.tuple(fc.nat(255), fc.uint8Array({ maxLength: 40 })), { maxLength: 8 });
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 12 })), (given, cuts) => {
      const bytes = Buffer.concat(given.map(([channel, content]) => frame(channel, content)));
      const got: (readonly [number, Buffer])[] = [];
      const take = splitFrames((channel, piece) => void got.push([channel, Buffer.from(piece)]));
      let at = 0;
      for (const cut of cuts) take(bytes.subarray(at, (at += cut)));
      take(bytes.subarray(at));
      const whole = (pairs: readonly (readonly [number, Uint8Array])[]) =>
        pairs.flatMap(([channel, content]) => [...content].map((byte) => [channel, byte]));
      expect(whole(got)).toEqual(whole(given));
    }),
    { numRuns: pureCases },
  );
});

/** Both ends of a connection. */
async function toPair(): Promise<readonly [Socket, Socket]> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The server has no port.");
  const far = connect(address.port, "127.0.0.1");
  const [near] = await once(server, "connection");
  server.close();
  if (!(near instanceof Socket)) throw new Error("The server gave no socket.");
  return [near, far];
}

test("a channel that is none ends the connection, and with it every stream", async () => {
  const [near, far] = await toPair();
  const { stdout, closed } = openChannels(near);
  far.write(frame(1, frame(1, Buffer.from("lawful"))));
  expect(String((await once(stdout, "data"))[0])).toBe("lawful");
  far.write(frame(1, frame(9, Buffer.from("x"))));
  await closed;
  await expect.poll(() => stdout.readableEnded).toBe(true);
});

test("a stream that nobody reads holds the connection up, and takes no memory", async () => {
  const [near, far] = await toPair();
  const { stdout } = openChannels(near);
  const mebibyte = Buffer.alloc(1 << 20);
  for (let sent = 0; sent < 64; sent += 1) far.write(frame(1, frame(1, mebibyte)));
  await expect.poll(() => near.isPaused()).toBe(true);
  expect(stdout.readableLength).toBeLessThan(1 << 20);
  let received = 0;
  stdout.on("data", (piece: Buffer) => void (received += piece.length));
  await expect.poll(() => received).toBe(64 << 20);
  far.destroy();
});

test.for([
  ["Python", ["python3", "-I", "-c", launcherInPython]],
  ["JavaScript", [process.execPath, "-e", launcherInJavaScript]],
] as const)("the launcher in %s tells why a command can't start", async ([, [program, ...args]]) => {
  const launcher = spawn(program, [...args, "/no/such/program"], { stdio: ["pipe", "pipe", "inherit"] });
  let diagnostics = "";
  launcher.stdout.on(
    "data",
    splitFrames((channel, piece) => void (diagnostics += channel === 2 ? String(piece) : "")),
  );
  await once(launcher, "close");
  expect(diagnostics).toMatch(/\/no\/such\/program.*(?:ENOENT|No such file)/);
});

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { testWith } from "../../support/machine.ts";
import { type Message, type Peer, openPeer } from "./peer.ts";

const notLinux = testWith("linux") === test.skip;
const fixture = join(import.meta.dirname, "fixture.ts");

/** A server in a process of its own, with a raw peer at its pipes. Disposing kills what is left of it. */
function startServer(): AsyncDisposable & {
  readonly child: ChildProcessWithoutNullStreams;
  readonly peer: Peer;
  readonly ended: Promise<{ readonly code: number | null; readonly stderr: string }>;
} {
  const child = spawn(process.execPath, [fixture], { stdio: "pipe" });
  child.stdin.on("error", () => {}); // A server that has ended reads no more.
  const ended = Promise.all([once(child, "exit"), text(child.stderr)]).then(([, stderr]) => ({
    code: child.exitCode,
    stderr,
  }));
  return {
    child,
    peer: openPeer(child.stdin, child.stdout),
    ended,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Calls the tool that never ends, and waits until it runs. */
async function hang({ child, peer }: { child: ChildProcessWithoutNullStreams; peer: Peer }): Promise<void> {
  await peer.initialize();
  const began = once(child.stderr, "data");
  peer.send({ jsonrpc: "2.0", id: "hang", method: "tools/call", params: { name: "hangs" } });
  expect(String(await began)).toContain("hangs began");
}

describe("a server process", () => {
  test("ends in order when stdin closes while a call hangs", async () => {
    await using server = startServer();
    await hang(server);
    server.child.stdin.end();
    const { code, stderr } = await server.ended;
    expect(stderr).toMatch(/hangs ended\n.*ended in order\n$/s);
    expect(code).toBe(0);
  });

  test("ends in order when stdout breaks", async () => {
    await using server = startServer();
    await hang(server);
    server.child.stdout.destroy();
    server.peer.send({ jsonrpc: "2.0", id: 1, method: "ping" });
    const { code, stderr } = await server.ended;
    expect(stderr).toMatch(/hangs ended\n.*ended in order\n$/s);
    expect(code).toBe(0);
  });

  test("ends in order on SIGTERM", async () => {
    await using server = startServer();
    await hang(server);
    server.child.kill("SIGTERM");
    const { code, stderr } = await server.ended;
    expect(stderr).toMatch(/hangs ended\n.*ended in order\n$/s);
    expect(code).toBe(0);
  });

  test("crosses no answers with another's under 2,000 interleaved calls with colliding ids (B25)", async () => {
    await using first = startServer();
    await using second = startServer();
    const peers = [first.peer, second.peer];
    await Promise.all(peers.map((peer) => peer.initialize()));
    for (let id = 0; id < 1_000; id += 1) {
      for (const [which, peer] of peers.entries()) {
        peer.send({
          jsonrpc: "2.0",
          id,
          method: "tools/call",
          params: { name: "echo", arguments: { text: `${which}/${id}` } },
        });
      }
    }
    const count = ({ received }: Peer): number => received.length;
    await expect.poll(() => peers.map(count)).toEqual([1_001, 1_001]);
    const toPair = ({ id, result }: Message): unknown[] => [Number(id), result?.structuredContent];
    const wanted = (which: number): unknown[] => [...Array(1_000).keys()].map((id) => [id, { text: `${which}/${id}` }]);
    for (const [which, peer] of peers.entries()) {
      const answers = peer.received.slice(1).toSorted((a, b) => Number(a.id) - Number(b.id));
      expect(answers.map(toPair)).toEqual(wanted(which));
    }
  });

  test.skipIf(notLinux)("stays small under a line of 300 MB and answers what comes after them", async () => {
    await using server = startServer();
    const { child, peer } = server;
    await peer.initialize();
    const residentMb = async (): Promise<number> => {
      const status = await readFile(`/proc/${child.pid}/status`, "utf8");
      return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
    };
    const before = await residentMb();
    const part = Buffer.alloc(1024 * 1024, "[");
    for (let written = 0; written < 300; written += 1) {
      if (!child.stdin.write(part)) await once(child.stdin, "drain");
    }
    child.stdin.write("\n");
    await peer.waitFor(({ error }) => error?.code === -32600);
    expect((await residentMb()) - before).toBeLessThan(150);
    // Nested as deep as a line holds.
    child.stdin.write(`${"[".repeat(4_000_000)}${"]".repeat(4_000_000)}\n`);
    expect((await peer.call("echo", { text: "still here" })).result?.isError).toBeUndefined();
  });
});

import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect } from "vitest";
import type { ExecResult } from "../../../src/sandbox/engine.ts";
import { tempFolder } from "../../support/temp.ts";

/** What hostile code must neither see nor touch. */
export interface Canaries extends AsyncDisposable {
  /** A text that stands in the environment variable CANARY_ENV of this process and in the canary file, and nowhere else. */
  readonly secret: string;
  /** Absolute path of a file outside every sandbox. */
  readonly file: string;
  /** Absolute path where a file must never appear. */
  readonly absent: string;
  /** The port, on 127.0.0.1, of a TCP and of a UDP listener. */
  readonly port: number;
  /** The name of an abstract Unix socket (Linux), without its leading zero byte. */
  readonly abstract: string;
  /** How many TCP connections and UDP packets came in: the listener's own count, since a client's "connected" proves nothing. */
  touched(): number;
}

/** Plants the canaries: environment, file, listeners. Disposing removes them. */
export async function plantCanaries(): Promise<Canaries> {
  await using planted = new AsyncDisposableStack();
  const folder = planted.use(await tempFolder());
  const secret = `canary-${crypto.randomUUID()}`;
  const file = join(folder.path, "canary.txt");
  writeFileSync(file, secret);
  process.env["CANARY_ENV"] = secret;
  planted.defer(() => void delete process.env["CANARY_ENV"]);
  let count = 0;
  const listen = async (...at: readonly [port: number, host: string] | readonly [name: string]) => {
    const server = createServer((socket) => {
      count += 1;
      socket.destroy();
    });
    if (at.length === 1) server.listen(at[0]);
    else server.listen(...at);
    await once(server, "listening");
    planted.defer(() => new Promise<void>((resolve) => server.close(() => resolve())));
    return server.address();
  };
  const address = await listen(0, "127.0.0.1");
  if (address === null || typeof address === "string") throw new Error("The canary listener has no port.");
  const abstract = `capstan-${crypto.randomUUID()}`;
  if (process.platform === "linux") await listen(`\0${abstract}`);
  const packets = createSocket("udp4", () => (count += 1));
  packets.bind(address.port, "127.0.0.1");
  await once(packets, "listening");
  planted.defer(() => void packets.close());
  const owned = planted.move();
  return {
    secret,
    file,
    absent: join(folder.path, "touched.txt"),
    port: address.port,
    abstract,
    touched: () => count,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Nothing of the canaries is in the results, and none was touched. */
export function expectUntouched(canaries: Canaries, ...results: readonly ExecResult[]): void {
  for (const { artifacts, ...rest } of results) {
    const files = artifacts.map(({ path, bytes }) => path + Buffer.from(bytes).toString("latin1"));
    expect(JSON.stringify([rest, files])).not.toContain(canaries.secret);
  }
  expect(readFileSync(canaries.file, "utf8")).toBe(canaries.secret);
  expect(existsSync(canaries.absent)).toBe(false);
  expect(canaries.touched()).toBe(0);
}

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Client } from "./client.ts";
import { cpuMicrosOf, startServer } from "./client.ts";
import { tempFolder } from "./home.ts";
import type { Figure } from "./measure.ts";
import { measure, median, toFigure } from "./measure.ts";

const windowMs = 1_000;
const capstan = join(import.meta.dirname, "../bin/capstan.js");
const bareServer = join(import.meta.dirname, "bare-server.js");

/** What the operator says of the tool behind: nothing, so that it is a sink that may run once, or that it only reads. */
const said = { "by default": {}, "as a read": { tools: { echo: { effect: "read", sink: false } } } };

/** Echo calls over stdio to a server behind Capstan, beside calls to the same server with nothing in between. Revision 2026-07-28. */
export async function* benchBridge(): AsyncGenerator<Figure> {
  for (const [name, config] of Object.entries(said)) yield* benchServed(name, config);
}

async function* benchServed(tool: string, config: object): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  const home = join(folder.path, "home");
  mkdirSync(home, { mode: 0o700 });
  const listed = join(folder.path, "tools.json");
  const schema = z.toJSONSchema(z.strictObject({ text: z.string() }));
  writeFileSync(listed, JSON.stringify([{ name: "echo", inputSchema: schema, outputSchema: schema }]));
  const bare = [bareServer, "low", listed];
  const servers = { bare: { command: process.execPath, args: bare, ...config } };
  // What a server answers is untrusted content: a sink would ask from the second call on.
  const permissions = { allow: ["bare__echo"], tainted: ["bare__echo"] };
  writeFileSync(join(home, "capstan.yaml"), JSON.stringify({ permissions, mcp: { servers } }), { mode: 0o600 });
  await using ours = startServer([capstan, "--home", home, "serve"], { modern: true });
  await using peer = startServer(bare, { modern: true });
  const load = async (client: Client, inFlight: number, ms = windowMs): Promise<number> =>
    await client.load({ name: client === ours ? "bare__echo" : "echo", arguments: { text: "hello" } }, inFlight, ms);

  // All are as compiled as they will be before anything counts.
  for (const client of [ours, peer]) await load(client, 16, 3 * windowMs);
  const name = { bench: "bridge", peerName: "the server behind, called directly" };
  yield await measure({
    ...name,
    figure: `echo ${tool}, 1 in flight`,
    unit: "µs per call",
    goal: { of: "ratio", atMost: 2.5 },
    ours: async () => 1e6 / (await load(ours, 1)),
    peer: async () => 1e6 / (await load(peer, 1)),
  });
  const cpu = { ours: [] as number[], peer: [] as number[] };
  const spend = async (client: Client, spent: number[]): Promise<number> => {
    const before = cpuMicrosOf(client.pid);
    const perSecond = await load(client, 16);
    spent.push((cpuMicrosOf(client.pid) - before) / (perSecond * (windowMs / 1000)));
    return perSecond;
  };
  const figure = await measure({
    ...name,
    figure: `echo ${tool}, 16 in flight`,
    unit: "calls/s",
    goal: { of: "ratio", atLeast: 0.4 },
    ours: () => spend(ours, cpu.ours),
    peer: () => spend(peer, cpu.peer),
  });
  yield figure;
  const [used, usedByPeer] = [median(cpu.ours.slice(1)), median(cpu.peer.slice(1))];
  if (Number.isNaN(used)) return;
  const about = { ...name, figure: `${figure.figure}: Capstan alone`, unit: "µs CPU per call", rounds: figure.rounds };
  yield toFigure(about, used, usedByPeer);
}

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "./client.ts";
import { cpuMicrosOf, startServer } from "./client.ts";
import { tempFolder } from "./home.ts";
import type { Figure } from "./measure.ts";
import { measure, median, toFigure } from "./measure.ts";

const windowMs = 1_000;
const call = { name: "echo", arguments: { text: "hello" } };

/** Echo calls per second over stdio, through the whole door, beside servers on the same SDK that do nothing but echo. */
export async function* benchRpc(): AsyncGenerator<Figure> {
  yield* benchEra({ era: "2025-11-25", flavour: "low", depths: [1, 16, 64] });
  yield* benchEra({ era: "2026-07-28", flavour: "low", depths: [1, 16, 64] });
  yield* benchEra({ era: "2025-11-25", flavour: "high", depths: [16] });
}

const peerNames = { low: "bare Server of the same SDK", high: "bare McpServer.registerTool" } as const;

async function* benchEra(about: {
  readonly era: "2025-11-25" | "2026-07-28";
  readonly flavour: keyof typeof peerNames;
  readonly depths: readonly number[];
}): AsyncGenerator<Figure> {
  const { era, flavour, depths } = about;
  await using folder = await tempFolder();
  const connect = async (program: string, ...args: readonly string[]): Promise<Client> => {
    const client = startServer([join(import.meta.dirname, program), ...args], { modern: era === "2026-07-28" });
    if (era === "2025-11-25") await client.initialize();
    return client;
  };
  await using ours = await connect("echo-server.ts", folder.path);
  const listed = join(folder.path, "tools.json");
  writeFileSync(listed, JSON.stringify((await ours.request("tools/list"))["tools"]));
  await using peer = await connect("bare-server.js", flavour, listed);

  // Both run as compiled as they will be before anything counts.
  for (const client of [ours, peer]) await client.load(call, 64, 3 * windowMs);
  for (const inFlight of depths) {
    const cpu = { ours: [] as number[], peer: [] as number[] };
    const load = async (client: Client, spent: number[]): Promise<number> => {
      const before = cpuMicrosOf(client.pid);
      const perSecond = await client.load(call, inFlight, windowMs);
      spent.push((cpuMicrosOf(client.pid) - before) / (perSecond * (windowMs / 1000)));
      return perSecond;
    };
    const name = { bench: "rpc", peerName: peerNames[flavour] };
    const figure = await measure({
      ...name,
      figure: `echo, ${era}, ${inFlight} in flight`,
      unit: "calls/s",
      goal: { of: "ratio", atLeast: 0.7 },
      ours: () => load(ours, cpu.ours),
      peer: () => load(peer, cpu.peer),
    });
    yield figure;
    const [used, usedByPeer] = [median(cpu.ours.slice(1)), median(cpu.peer.slice(1))];
    if (Number.isNaN(used)) continue;
    const { rounds } = figure;
    yield toFigure(
      { ...name, figure: `${figure.figure}: the server`, unit: "µs CPU per call", rounds },
      used,
      usedByPeer,
    );
  }
}

import { join } from "node:path";
import { cpuMicrosOf } from "./client.ts";
import { tempFolder } from "./home.ts";
import type { HttpPeer } from "./http-client.ts";
import { startHttpServer } from "./http-client.ts";
import type { Figure } from "./measure.ts";
import { measure, median, toFigure } from "./measure.ts";

const windowMs = 1_000;
const name = { bench: "http", peerName: "createMcpHandler of the SDK, bare Server" };

/** Echo calls per second over HTTP, revision 2026-07-28, through the whole door, beside the SDK's own handler, with 10 and with 500 tools. */
export async function* benchHttp(): AsyncGenerator<Figure> {
  yield* benchTools(10, [1, 16, 64]);
  yield* benchTools(500, [16]);
}

async function* benchTools(tools: number, depths: readonly number[]): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  const listed = join(folder.path, "tools.json");
  await using ours = await startHttpServer([
    join(import.meta.dirname, "http-echo-server.ts"),
    ...[join(folder.path, "home"), String(tools), listed],
  ]);
  await using peer = await startHttpServer([join(import.meta.dirname, "bare-http-server.js"), listed]);

  // Both run as compiled as they will be before anything counts.
  for (const server of [ours, peer]) await server.load(64, 3 * windowMs);
  for (const inFlight of depths) {
    const cpu = { ours: [] as number[], peer: [] as number[] };
    const load = async (server: HttpPeer, spent: number[]): Promise<number> => {
      const before = cpuMicrosOf(server.pid);
      const perSecond = await server.load(inFlight, windowMs);
      spent.push((cpuMicrosOf(server.pid) - before) / (perSecond * (windowMs / 1000)));
      return perSecond;
    };
    const figure = await measure({
      ...name,
      figure: `echo, ${tools} tools, ${inFlight} in flight`,
      unit: "calls/s",
      goal: { of: "ratio", atLeast: 1.5 },
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

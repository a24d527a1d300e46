import { availableParallelism, cpus, loadavg, totalmem } from "node:os";
import { benchBridge } from "./bridge.ts";
import { benchCold } from "./cold.ts";
import { benchDiscovery } from "./discovery.ts";
import { benchDoor } from "./door.ts";
import { benchFiles } from "./files.ts";
import { benchHost } from "./host.ts";
import { benchHttp } from "./http.ts";
import { benchKnowledge } from "./knowledge.ts";
import type { Figure } from "./measure.ts";
import { installPeers } from "./peers.ts";
import { benchRpc } from "./rpc.ts";
import { benchSandbox } from "./sandbox.ts";
import { benchStreams } from "./streams.ts";

// `npm run bench [NAME…]`: one JSON line a figure on stdout, as it is measured; the table and all else on stderr.

const benches: Readonly<Record<string, () => AsyncGenerator<Figure>>> = {
  door: benchDoor,
  cold: benchCold,
  rpc: benchRpc,
  http: benchHttp,
  bridge: benchBridge,
  streams: benchStreams,
  discovery: benchDiscovery,
  sandbox: benchSandbox,
  host: benchHost,
  knowledge: benchKnowledge,
  files: benchFiles,
};

const asked = process.argv.slice(2);
const unknown = asked.find((name) => !Object.hasOwn(benches, name));
if (unknown !== undefined) {
  tell(`No bench is called ${unknown}. There are: ${Object.keys(benches).join(", ")}; without a name all are run.`);
  process.exit(2);
}

installPeers();
tell(toMachine());
const figures: Figure[] = [];
for (const [name, bench] of Object.entries(benches)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  tell(`${name}: load ${toLoad()}`);
  for await (const figure of bench()) {
    console.log(JSON.stringify(figure));
    figures.push(figure);
  }
}
tell(`load at the end ${toLoad()}\n\n${toTable(figures)}`);

function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

function toMachine(): string {
  const memory = Math.round(totalmem() / 1024 ** 3);
  const model = cpus()[0]?.model ?? "unknown processor";
  return `${availableParallelism()} × ${model}, ${memory} GB, ${process.platform}, Node ${process.versions.node}`;
}

function toLoad(): string {
  return loadavg()
    .map((load) => load.toFixed(1))
    .join(" ");
}

/** A Markdown table, as docs/performance.md holds it. */
function toTable(all: readonly Figure[]): string {
  const rows = all.map(({ bench, figure, unit, ours, peer, peerName, ratio, goal = "", met }) => [
    bench,
    figure,
    `${ours} ${unit}`,
    `${peer} ${unit}`,
    peerName,
    String(ratio),
    goal,
    met === undefined ? "" : met ? "yes" : "no",
  ]);
  const head = ["bench", "figure", "ours", "peer", "the peer", "ours / peer", "goal", "met"];
  const widths = head.map((title, column) =>
    Math.max(...[title, ...rows.map((row) => row[column] ?? "")].map(({ length }) => length)),
  );
  const toLine = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - cell.length)).join(" | ")} |`;
  const rule = `| ${widths.map((length) => "-".repeat(length)).join(" | ")} |`;
  return [toLine(head), rule, ...rows.map(toLine)].join("\n");
}

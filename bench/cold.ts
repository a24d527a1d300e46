import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startServer } from "./client.ts";
import { tempFolder } from "./home.ts";
import type { Figure } from "./measure.ts";
import { measure, measureBeside } from "./measure.ts";

const root = join(import.meta.dirname, "..");

/** From the start of a process to the answer to its first tools/list, over stdio, in a home that was used before. */
export async function* benchCold(): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  const source = join(root, "bin/capstan.js");
  const built = buildPackage();
  const serve = (bin: string): readonly string[] => [bin, "--home", join(folder.path, "home"), "serve"];
  const bare = (flavour: string): readonly string[] => [
    join(import.meta.dirname, "bare-server.js"),
    flavour,
    join(folder.path, "tools.json"),
  ];

  // The first start makes the home; its tools are what the bare servers show.
  await using first = startServer(serve(source));
  await first.initialize();
  writeFileSync(join(folder.path, "tools.json"), JSON.stringify((await first.request("tools/list"))["tools"]));

  const about = { bench: "cold", unit: "ms", rounds: 15 };
  const goal = { of: "ratio", atMost: 1.3 } as const;
  yield* await measureBeside({
    ...about,
    figure: "start to first tools/list, as packed (dist)",
    goal,
    ours: () => start(serve(built)),
    peers: {
      "bare Server of the same SDK, same tools": () => start(bare("low")),
      "bare McpServer.registerTool, same tools": () => start(bare("high")),
    },
  });
  yield await measure({
    ...about,
    figure: "start to first tools/list, from source",
    peerName: "bare Server of the same SDK, same tools",
    goal,
    ours: () => start(serve(source)),
    peer: () => start(bare("low")),
  });
}

async function start(args: readonly string[]): Promise<number> {
  const startedAt = performance.now();
  // registerTool warns of formats that it does not know.
  await using server = startServer(args, { quiet: true });
  await server.initialize();
  await server.request("tools/list");
  return performance.now() - startedAt;
}

/** Lays the package out as npm would, without its source, and gives its command. */
function buildPackage(): string {
  const folder = join(root, ".bench/package");
  mkdirSync(folder, { recursive: true });
  for (const part of ["bin", "package.json"]) cpSync(join(root, part), join(folder, part), { recursive: true });
  const tsc = join(root, "node_modules/.bin/tsc");
  execFileSync(tsc, ["-p", join(root, "tsconfig.build.json"), "--outDir", join(folder, "dist")], {
    stdio: ["ignore", 2, 2],
  });
  return join(folder, "bin/capstan.js");
}

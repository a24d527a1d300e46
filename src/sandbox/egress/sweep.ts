import { readdir, rm, stat } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";

/** How the folder of a proxy begins, and what its socket is called in it. */
export const egressPrefix = "capstan-egress-";
export const egressSocket = "proxy";
/** Before it listens, a new proxy has a folder without a socket for a moment. */
const youngMs = 60_000;

/** Removes the folders of proxies below `folder` that a killed Capstan has left: nobody listens there. Those of others stay. Never rejects. */
export async function sweepEgress(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((one) => one.startsWith(egressPrefix))) {
    const path = join(folder, name);
    const isLeft = await isDead(path).catch(() => false);
    if (isLeft) await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
}

async function isDead(path: string): Promise<boolean> {
  const code = await tryConnect(join(path, egressSocket));
  if (code === "ENOENT") return Date.now() - (await stat(path)).mtimeMs > youngMs;
  return code === "ECONNREFUSED";
}

/** What connecting ends with; undefined: somebody listens. */
async function tryConnect(socketPath: string): Promise<string | undefined> {
  const socket = connect(socketPath);
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  socket.on("connect", () => resolve(undefined));
  socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "unknown"));
  const code = await promise;
  socket.destroy();
  return code;
}

import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** What this process holds once its garbage is collected, in bytes, and how many sockets it has open. */
export async function readMemory(): Promise<{ rss: number; heap: number; sockets: number }> {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  // What is only reachable from finalizers, and what the allocator gives back, needs a second round.
  for (let round = 0; round < 3; round += 1) {
    collect();
    await sleep(50);
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  const sockets = process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;
  return { rss, heap: heapUsed + external, sockets };
}

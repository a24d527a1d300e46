import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import type Dockerode from "dockerode";
import { z } from "zod";
import { remove } from "./remove.ts";

const labels = { home: "dev.capstan.home", owner: "dev.capstan.owner" } as const;

/** A process, so that its number given away again is not taken for it. Empty texts: the system does not tell. */
const Owner = z.strictObject({ host: z.string(), boot: z.string(), pid: z.int(), start: z.string() });
type Owner = z.infer<typeof Owner>;

/** The labels of containers that this process starts for a home. */
export function toLabels(homeId: string): Record<string, string> {
  return { [labels.home]: homeId, [labels.owner]: JSON.stringify(thisProcess()) };
}

/** What tells the containers of one home from those of others on a daemon. `folder` is one of that home alone. */
export function toHomeId(folder: string): string {
  return createHash("sha256").update(folder).digest("hex").slice(0, 32);
}

/**
 * Removes containers of this home whose Capstan has ended, crashed or killed. Those of a living one stay, and those of a Capstan on
 * another machine too, of which nothing is known here. Rejects when the daemon does not answer.
 */
export async function sweep(docker: Dockerode, homeId: string): Promise<void> {
  const filters = { label: [`${labels.home}=${homeId}`] };
  for (const { Id, Labels } of await docker.listContainers({ all: true, filters })) {
    const owner = toOwner(Labels[labels.owner]);
    if (owner === undefined || !hasEnded(owner)) continue;
    await remove(docker.getContainer(Id));
  }
}

function thisProcess(): Owner {
  return { host: hostname(), boot: readBoot(), pid: process.pid, start: readStart(process.pid) ?? "" };
}

function toOwner(label: string | undefined): Owner | undefined {
  try {
    return Owner.parse(JSON.parse(label ?? ""));
  } catch {
    return undefined;
  }
}

function hasEnded({ host, boot, pid, start }: Owner): boolean {
  if (host !== hostname()) return false;
  if (boot !== readBoot()) return true;
  if (start !== "") return readStart(pid) !== start;
  try {
    process.kill(pid, 0);
    return false;
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown && thrown.code === "ESRCH";
  }
}

function readBoot(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  } catch {
    return "";
  }
}

/** When a process started, in ticks since the machine did; undefined: there is none, or the system does not tell. */
function readStart(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name, in parentheses, may hold anything; the fields are counted behind it.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}

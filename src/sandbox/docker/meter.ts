import { readFileSync } from "node:fs";
import type { Reading } from "../process/meter.ts";

const root = "/sys/fs/cgroup";

/**
 * Finds how to read what a container has used, in the control groups of its process; null where that process is not one of this machine
 * that this process can see, as with a daemon elsewhere or in a virtual machine. That the group carries the container's id rules out a
 * process which merely has the same number here.
 */
export function findMeter(pid: number, containerId: string): (() => Reading | null) | null {
  const groups = new Map<string, string>();
  for (const line of (readText(`/proc/${pid}/cgroup`) ?? "").split("\n")) {
    const [, controllers = "", path = ""] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (!path.includes(containerId)) continue;
    if (controllers === "") groups.set("unified", `${root}${path}`);
    for (const controller of controllers.split(",")) groups.set(controller, `${root}/${controllers}${path}`);
  }
  const meter = toMeter(groups);
  return meter === null || meter() === null ? null : meter;
}

/** With version 1 of control groups each controller has a folder of its own, with version 2 they share one. */
function toMeter(groups: ReadonlyMap<string, string>): (() => Reading | null) | null {
  const processor = groups.get("cpuacct");
  const memory = groups.get("memory");
  if (processor !== undefined && memory !== undefined) {
    return () =>
      toReading(
        (readNumber(`${processor}/cpuacct.usage`) ?? Number.NaN) / 1e6,
        readNumber(`${memory}/memory.usage_in_bytes`),
        readNumber(`${memory}/memory.max_usage_in_bytes`),
      );
  }
  const unified = groups.get("unified");
  if (unified === undefined) return null;
  return () => {
    const [, microseconds] = /^usage_usec (\d+)$/m.exec(readText(`${unified}/cpu.stat`) ?? "") ?? [];
    const bytes = readNumber(`${unified}/memory.current`);
    // Kernels before 5.19 keep no peak.
    return toReading(Number(microseconds) / 1e3, bytes, readNumber(`${unified}/memory.peak`) ?? bytes);
  };
}

/** null: a part of it can't be read, as when the container has ended. */
function toReading(cpuMs: number, residentBytes: number | undefined, peakBytes: number | undefined): Reading | null {
  if (Number.isNaN(cpuMs) || residentBytes === undefined || peakBytes === undefined) return null;
  return { cpuMs: Math.round(cpuMs), residentBytes, peakBytes };
}

function readNumber(path: string): number | undefined {
  const text = readText(path);
  return text === undefined ? undefined : Number(text);
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined;
  }
}

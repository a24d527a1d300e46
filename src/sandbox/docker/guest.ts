import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type Dockerode from "dockerode";
import { z } from "zod";
import { CapstanError } from "../../core/error.ts";
import type { SandboxFile } from "../engine.ts";
import type { Guest } from "../process/guest.ts";
import type { Reading } from "../process/meter.ts";
import type { Channels } from "./channels.ts";
import { remove } from "./remove.ts";

const mebibyte = 1024 * 1024;
/** What a container may take beyond the limit of its run: files, which are memory, and two processes of an interpreter. */
const allowanceBytes = 192 * mebibyte;
/** What `/in` of a container holds. The interpreter has the files once more while it puts them there, and all of that is memory. */
export const inMebibytes = 96;
/** How often a container is asked to be frozen before it is killed, and how long after one another. */
const maxPauses = 4;
const pauseDelayMs = 50;
/** How long the end of a container may lag behind the daemon that already denies it. */
const removalMs = 2000;

/** The limit of a container whose run may take so much. */
export const toContainerMemory = (bytes: number): number => bytes + allowanceBytes;

/** A guest of the container that `attached` is connected to, and that was started with `memoryBytes` for its run. */
export function toGuest(of: {
  readonly container: Dockerode.Container;
  readonly attached: Socket;
  readonly channels: Channels;
  readonly memoryBytes: number;
  /** null: nobody here can count what it uses. */
  readonly meter: (() => Reading | null) | null;
}): Guest {
  const { container, attached, channels, meter } = of;
  let removing: Promise<void> | undefined;
  const end = () => (removing ??= remove(container));
  let { memoryBytes } = of;
  let memoryEnded = "";
  let isFrozen = false;
  let freezing: Promise<void> = Promise.resolve();
  const leave = async () => {
    await channels.closed;
    // After it was killed there is nothing to learn.
    if (removing === undefined && (await wasOutOfMemory(container))) memoryEnded = "out of memory";
    await end();
  };
  const limitMemory = async (bytes: number) => {
    if (bytes === memoryBytes) return;
    const memory = bytes + allowanceBytes;
    try {
      await container.update({ Memory: memory, MemorySwap: memory });
      memoryBytes = bytes;
    } catch (cause) {
      // podman before 5 can't; then a lower limit is held by what reads the meter.
      if (guest.meter() !== null) return;
      // One that is just being removed needs no limit: its run is told as crashed.
      if (await Promise.race([channels.closed.then(() => true), sleep(removalMs, false)])) return;
      throw new CapstanError("sandbox.unavailable", "The daemon did not change the memory of a container.", {
        cause,
      });
    }
  };
  const change = async (toFrozen: boolean, before: Promise<void>) => {
    await before;
    if (toFrozen) return await pause(container).catch(() => guest.kill());
    // One that stays frozen runs out of time.
    await container.unpause().catch(() => undefined);
  };
  const guest: Guest = {
    ...channels,
    meter: () => meter?.() ?? null,
    diagnostics: () => channels.diagnostics() + memoryEnded,
    hold: (held) => void (held ? attached.ref() : attached.unref()),
    kill() {
      void end();
      attached.destroy();
    },
    gone: leave(),
    freeze(toFrozen) {
      if (toFrozen === isFrozen) return;
      isFrozen = toFrozen;
      // The launcher is fast, and the daemon is what holds. It hears of it before any order that follows: behind a large one, which nobody
      // reads who stands still, it never would.
      channels.freeze(toFrozen);
      freezing = change(toFrozen, freezing);
    },
    async prepare(request) {
      const { limits, files } = request;
      demandRoom(files);
      await limitMemory(limits.memoryBytes);
      // Where nobody here can count processor time it is charged as wall time, and held to its limit as such.
      if (guest.meter() !== null) return request;
      return { ...request, limits: { ...limits, wallMs: Math.min(limits.wallMs, limits.cpuMs) } };
    },
  };
  return guest;
}

/** Throws `sandbox.bad_request` for more input files than any container takes. */
function demandRoom(files: readonly SandboxFile[]): void {
  const bytes = files.reduce((sum, file) => sum + file.bytes.length, 0);
  if (bytes <= inMebibytes * mebibyte) return;
  throw new CapstanError(
    "sandbox.bad_request",
    `The input files of a run in a container may have ${inMebibytes} MiB together, and these have ${Math.ceil(bytes / mebibyte)}. Give fewer at a time, or take another engine.`,
  );
}

/** Version 1 of control groups can't always freeze at once what moves. Where daemon and kernel disagree, the daemon says "already paused". */
async function pause(container: Dockerode.Container): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await container.pause();
      return;
    } catch (thrown) {
      if (/already paused/.test(String(thrown))) return;
      if (tries === maxPauses) throw thrown;
      await sleep(pauseDelayMs);
    }
  }
}

const Inspected = z.object({ State: z.object({ OOMKilled: z.boolean() }) });

async function wasOutOfMemory(container: Dockerode.Container): Promise<boolean> {
  try {
    return Inspected.parse(await container.inspect()).State.OOMKilled;
  } catch {
    return false;
  }
}

import { randomUUID } from "node:crypto";
import type Dockerode from "dockerode";
import { z } from "zod";
import { CapstanError } from "../../core/error.ts";
import type { Guest } from "../process/guest.ts";
import { attach } from "./attach.ts";
import { openChannels } from "./channels.ts";
import type { Daemon } from "./daemon.ts";
import { findMeter } from "./meter.ts";

const mebibyte = 1024 * 1024;
/** From the start of a container to its "ready"; a second where nothing else runs, three with gVisor. */
const bootMs = 60_000;
/** What a container may take beyond the limit of its run: files, which are memory, and two processes of an interpreter. */
const allowanceBytes = 192 * mebibyte;
/** Processors of a container. */
const processors = 1;

/** A guest in a container. */
export interface DockerGuest extends Guest {
  /** Sets how much memory its run may take; what it was started with needs no setting. Rejects when the daemon can't. */
  limitMemory(bytes: number): Promise<void>;
}

/** What a container is started with. */
export interface ContainerSpec {
  /** Its first process: a launcher and what it launches. */
  readonly command: readonly string[];
  readonly memoryBytes: number;
  readonly runtime?: string | undefined;
  readonly labels: Record<string, string>;
}

/** Starts a container that waits for its order. Rejects with what the daemon says, the signal's reason, or `sandbox.unavailable`. */
export async function startContainer(daemon: Daemon, spec: ContainerSpec, signal: AbortSignal): Promise<DockerGuest> {
  signal.throwIfAborted();
  const { docker } = daemon;
  const name = `capstan-${randomUUID()}`;
  const container = docker.getContainer(name);
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(bootMs)]);
  // No request is broken off: a container that the daemon makes nevertheless would be left behind.
  let removing: Promise<unknown> | undefined;
  const remove = () => (removing ??= container.remove({ force: true, v: true }).catch(() => undefined));
  try {
    await docker.createContainer(toCreateOptions(name, daemon, spec));
    const attached = await attach(daemon.socket, name);
    const channels = openChannels(attached);
    const ready = new Promise<boolean>((resolve) => {
      channels.frames.once("data", () => resolve(true));
      void channels.closed.then(() => resolve(false));
      deadline.addEventListener("abort", () => resolve(false), { once: true });
    });
    await container.start();
    const { Id, State } = Inspected.parse(await container.inspect());
    if (!(await ready)) {
      attached.destroy();
      throw new CapstanError("sandbox.unavailable", `A container did not get ready. ${channels.diagnostics()}`.trim());
    }
    signal.throwIfAborted();
    const meter = findMeter(State.Pid, Id);
    let memoryEnded = "";
    let isFrozen = false;
    let freezing: Promise<void> = Promise.resolve();
    const leave = async () => {
      await channels.closed;
      // After it was killed there is nothing to learn.
      if (removing === undefined && (await wasOutOfMemory(container))) memoryEnded = "out of memory";
      await remove();
    };
    const guest: DockerGuest = {
      ...channels,
      meter: () => meter?.() ?? null,
      diagnostics: () => channels.diagnostics() + memoryEnded,
      hold: (held) => void (held ? attached.ref() : attached.unref()),
      kill() {
        void remove();
        attached.destroy();
      },
      gone: leave(),
      freeze(toFrozen) {
        if (toFrozen === isFrozen) return;
        isFrozen = toFrozen;
        const change = () => (toFrozen ? container.pause() : container.unpause());
        // What fails for the container having ended is told by its end; one that can't be frozen must not go on.
        freezing = freezing.then(change).then(
          () => undefined,
          () => guest.kill(),
        );
      },
      async limitMemory(bytes) {
        if (bytes === spec.memoryBytes) return;
        await container.update({ Memory: bytes + allowanceBytes, MemorySwap: bytes + allowanceBytes });
      },
    };
    guest.hold(false);
    return guest;
  } catch (thrown) {
    await remove();
    signal.throwIfAborted();
    throw thrown;
  }
}

const Inspected = z.object({ Id: z.string(), State: z.object({ Pid: z.int(), OOMKilled: z.boolean() }) });

async function wasOutOfMemory(container: Dockerode.Container): Promise<boolean> {
  try {
    return Inspected.parse(await container.inspect()).State.OOMKilled;
  } catch {
    return false;
  }
}

/** Everything that separates a container from its host stands here. */
function toCreateOptions(name: string, daemon: Daemon, spec: ContainerSpec): Dockerode.ContainerCreateOptions {
  const [program, ...args] = spec.command;
  const memory = spec.memoryBytes + allowanceBytes;
  const folder = (megabytes: number) => `rw,nosuid,nodev,noexec,size=${megabytes}m,mode=1777`;
  return {
    name,
    Image: daemon.imageId,
    Entrypoint: [program ?? ""],
    Cmd: args,
    Labels: spec.labels,
    Hostname: "sandbox",
    User: "65534:65534",
    WorkingDir: "/",
    Env: ["HOME=/tmp", "LANG=C.UTF-8"],
    Healthcheck: { Test: ["NONE"] },
    // Its input ends when this process does, and with its input it ends too.
    OpenStdin: true,
    StdinOnce: true,
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    HostConfig: {
      ...(spec.runtime === undefined ? {} : { Runtime: spec.runtime }),
      NetworkMode: "none",
      // Else the addresses of the host's own name servers stand in a file.
      Dns: ["127.0.0.1"],
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges", `seccomp=${daemon.seccomp}`],
      IpcMode: "none",
      Memory: memory,
      MemorySwap: memory,
      NanoCpus: processors * 1e9,
      PidsLimit: 64,
      Ulimits: [
        { Name: "nofile", Soft: 256, Hard: 256 },
        { Name: "core", Soft: 0, Hard: 0 },
        // What holds is the limit above: this one counts all containers together. podman's default is more than root may set.
        { Name: "nproc", Soft: 4096, Hard: 4096 },
      ],
      // Where the machine itself runs out of memory, this goes first.
      OomScoreAdj: 1000,
      LogConfig: { Type: "none", Config: {} },
      Init: false,
      Tmpfs: {
        "/in": folder(96),
        "/out": folder(64),
        "/tmp": folder(64),
        // podman puts writable folders there unless there are some.
        "/run": folder(1),
        "/var/tmp": folder(1),
      },
    },
  };
}

import { randomUUID } from "node:crypto";
import type { Socket } from "node:net";
import type Dockerode from "dockerode";
import { z } from "zod";
import { CapstanError } from "../../core/error.ts";
import { relayEnvironment } from "../egress/relay.ts";
import { toEnvironment } from "../guest/interpreters.ts";
import type { Guest } from "../process/guest.ts";
import { attach } from "./attach.ts";
import { openChannels } from "./channels.ts";
import type { Daemon } from "./daemon.ts";
import { inMebibytes, toContainerMemory, toGuest } from "./guest.ts";
import { findMeter } from "./meter.ts";
import { remove } from "./remove.ts";

/** From the start of a container to its "ready"; a second where nothing else runs, three with gVisor. */
const bootMs = 60_000;
/** Processors of a container, and processes and threads. */
const processors = 1;
const processes = 64;
/** Of a kernel in user space: it ends, and the container with it, where it gets no more. It has one more for each of the code's. */
const kernelThreads = 192;

/** What a container is started with. */
export interface ContainerSpec {
  /** Its first process: a launcher and what it launches. */
  readonly command: readonly string[];
  readonly memoryBytes: number;
  readonly runtime?: string | undefined;
  readonly labels: Record<string, string>;
  /** The socket of a proxy on the daemon's machine, which is then the way out, at `egressPath`; missing: there is none. */
  readonly socketPath?: string | undefined;
}

/** Where the socket of a proxy is in a container. */
export const egressPath = "/capstan/egress";

/** Starts a container that waits for its order. Rejects with what the daemon says, the signal's reason, or `sandbox.unavailable`. */
export async function startContainer(daemon: Daemon, spec: ContainerSpec, signal: AbortSignal): Promise<Guest> {
  signal.throwIfAborted();
  const { docker } = daemon;
  const name = `capstan-${randomUUID()}`;
  const container = docker.getContainer(name);
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(bootMs)]);
  // No request is broken off: a container that the daemon makes nevertheless would be left behind.
  let attached: Socket | undefined;
  try {
    await docker.createContainer(toCreateOptions(name, daemon, spec));
    attached = await attach(daemon.socket, name);
    const channels = openChannels(attached);
    const ready = new Promise<boolean>((resolve) => {
      channels.frames.once("data", () => resolve(true));
      void channels.closed.then(() => resolve(false));
      deadline.addEventListener("abort", () => resolve(false), { once: true });
    });
    await container.start();
    const { Id, State } = Inspected.parse(await container.inspect());
    if (!(await ready)) {
      throw new CapstanError("sandbox.unavailable", `A container did not get ready. ${channels.diagnostics()}`.trim());
    }
    signal.throwIfAborted();
    const guest = toGuest({ container, attached, channels, ...spec, meter: findMeter(State.Pid, Id) });
    guest.hold(false);
    return guest;
  } catch (thrown) {
    attached?.destroy();
    await remove(container);
    signal.throwIfAborted();
    throw thrown;
  }
}

const Inspected = z.object({ Id: z.string(), State: z.object({ Pid: z.int() }) });

/** Everything that separates a container from its host stands here. */
function toCreateOptions(container: string, daemon: Daemon, spec: ContainerSpec): Dockerode.ContainerCreateOptions {
  const { socketPath } = spec;
  const [program, ...args] = spec.command;
  const memory = toContainerMemory(spec.memoryBytes);
  const folder = (megabytes: number) => `rw,nosuid,nodev,noexec,size=${megabytes}m,mode=1777`;
  return {
    name: container,
    Image: daemon.imageId,
    Entrypoint: [program ?? ""],
    Cmd: args,
    Labels: spec.labels,
    Hostname: "sandbox",
    User: "65534:65534",
    WorkingDir: "/",
    // Beside what the image sets.
    Env: Object.entries({ ...toEnvironment(processors), ...(socketPath === undefined ? {} : relayEnvironment) }).map(
      (pair) => pair.join("="),
    ),
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
      PidsLimit: processes + (spec.runtime === "runsc" ? kernelThreads : 0),
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
      Mounts:
        socketPath === undefined ? [] : [{ Type: "bind", Source: socketPath, Target: egressPath, ReadOnly: true }],
      Tmpfs: {
        "/in": folder(inMebibytes),
        "/out": folder(64),
        "/tmp": folder(64),
        // podman puts writable folders there unless there are some.
        "/run": folder(1),
        "/var/tmp": folder(1),
      },
    },
  };
}

import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type Dockerode from "dockerode";
import { z } from "zod";
import type { Unavailable } from "../engine.ts";
import { makeWhole } from "../make-whole.ts";
import { toSeccompProfile } from "./seccomp.ts";

/** For how long a daemon that does much else may be silent on what it was asked. */
export const maxSilenceMs = 60_000;

/** A daemon that can hold code to its limits, and the image that containers start from. */
export interface Daemon {
  readonly docker: Dockerode;
  readonly socket: string;
  /** The image's id: its name may mean another image tomorrow. */
  readonly imageId: string;
  /** What its security option `seccomp` takes. */
  readonly seccomp: string;
}

// What is read here of what daemons answer. podman leaves some of it out.
const Info = z.object({
  OSType: z.string().optional(),
  MemoryLimit: z.boolean(),
  CpuCfsQuota: z.boolean().optional(),
  PidsLimit: z.boolean().optional(),
  Runtimes: z.record(z.string(), z.object({ runtimeArgs: z.array(z.string()).nullish() })).nullish(),
});
const Version = z.object({ Components: z.array(z.object({ Name: z.string() })).nullish() });
const Image = z.object({ Id: z.string(), Config: z.object({ Volumes: z.record(z.string(), z.unknown()).nullish() }) });

/**
 * Talks to the daemon at a socket, whatever the environment names, and gives up a request on which it is silent for `silentMs`; missing:
 * never. The package is loaded when it is needed: that takes 0.1 s.
 */
export async function openDocker(socket: string, { silentMs = 0 } = {}): Promise<Dockerode> {
  const { default: Docker } = await import("dockerode");
  return new Docker({ socketPath: socket, host: undefined, port: undefined, protocol: "http", timeout: silentMs });
}

/** Looks whether the daemon answers, can enforce limits, and has the image and the runtime. */
export async function connect(options: {
  readonly socket: string;
  readonly image: string;
  /** Missing: the daemon's default. */
  readonly runtime?: string | undefined;
  /** For what podman reads from a file. */
  readonly cacheDir: string;
}): Promise<Daemon | Unavailable> {
  const { socket, image, runtime, cacheDir } = options;
  const docker = await openDocker(socket, { silentMs: maxSilenceMs });
  try {
    const { OSType, MemoryLimit, CpuCfsQuota, PidsLimit, Runtimes } = Info.parse(await docker.info());
    if (OSType !== undefined && OSType !== "linux") {
      return { reason: `Docker at ${socket} runs containers of ${OSType}.`, remedy: "Switch it to Linux containers." };
    }
    if (!MemoryLimit || CpuCfsQuota === false || PidsLimit === false) {
      return {
        reason: `Docker at ${socket} can't limit memory, processor time and processes.`,
        remedy: "Run it as root, or rootless with control groups version 2 delegated to its user.",
      };
    }
    const { runtimeArgs } = Runtimes?.[runtime ?? ""] ?? {};
    if (runtimeArgs?.some((argument) => /^--?ignore-cgroups(?:=true)?$/.test(argument)) === true) {
      return {
        reason: `The runtime ${runtime} of Docker at ${socket} ignores control groups, so nothing would limit memory.`,
        remedy: "Take --ignore-cgroups out of its runtimeArgs (daemon.json), or change sandbox.docker.runtime.",
      };
    }
    if (runtime !== undefined && Runtimes?.[runtime] === undefined) {
      return {
        reason: `Docker at ${socket} has no runtime ${runtime}.`,
        remedy: `Install it and add it to the runtimes of the daemon (daemon.json), or change sandbox.docker.runtime.`,
      };
    }
    const { Id, Config } = Image.parse(await docker.getImage(image).inspect());
    const volumes = Object.keys(Config.Volumes ?? {});
    if (volumes.length === 0) return { docker, socket, imageId: Id, seccomp: await toSeccompOption(docker, cacheDir) };
    return {
      // Each would be a folder on the daemon's disk that code may fill.
      reason: `The image ${image} declares volumes: ${volumes.join(", ")}.`,
      remedy: "Name an image without volumes in sandbox.docker.image.",
    };
  } catch (thrown) {
    return explain(thrown, socket, image);
  }
}

/** Docker takes the profile itself, podman the path of a file with it. */
async function toSeccompOption(docker: Dockerode, cacheDir: string): Promise<string> {
  const profile = toSeccompProfile();
  const { Components } = Version.parse(await docker.version());
  if (!(Components ?? []).some(({ Name }) => /podman/i.test(Name))) return profile;
  const hash = createHash("sha256").update(profile).digest("hex").slice(0, 32);
  const path = join(cacheDir, `seccomp-${hash}`);
  await mkdir(cacheDir, { recursive: true, mode: 0o700 });
  await makeWhole(path, (draft) => writeFile(draft, profile, { mode: 0o600 }));
  return path;
}

/** What a failed request to the daemon means, and what to do. */
export function explain(thrown: unknown, socket: string, image: string): Unavailable {
  const { code, message, statusCode } = Failure.catch({}).parse(thrown);
  if (code === "ENOENT" || code === "ECONNREFUSED") {
    return {
      reason: `There is no Docker at ${socket}.`,
      remedy:
        "Install and start it (Debian and Ubuntu: apt install docker.io), or set sandbox.docker.socket (capstan.yaml) to its socket.",
    };
  }
  if (code === "ECONNRESET") {
    return {
      reason: `Docker at ${socket} gave no answer.`,
      remedy: "See the log of the daemon, and start it anew where it hangs.",
    };
  }
  if (code === "EACCES") {
    return {
      reason: `This user may not use Docker at ${socket}.`,
      remedy: "Use a rootless Docker or podman, or join the group of that socket, which is as good as being root.",
    };
  }
  if (statusCode === 404 && /no such image|image not known/i.test(message ?? "")) {
    return {
      reason: `The image ${image} is not there.`,
      remedy: "Make it with `capstan sandbox build`, or name another one in sandbox.docker.image.",
    };
  }
  // Each runtime says it in its own way.
  const [, program] = /^(?=.*executable).*["`](python3|node)\\?["`]/s.exec(message ?? "") ?? [];
  if (program !== undefined) {
    return {
      reason: `The image ${image} has no ${program}.`,
      remedy: "Python and bash need python3 (3.9 or newer), JavaScript and TypeScript node (24 or newer).",
    };
  }
  return {
    reason: `Docker at ${socket} answered: ${(message ?? "nothing").trim().slice(0, 500)}.`,
    remedy: "See the log of the daemon.",
  };
}

const Failure = z.object({
  code: z.string().optional().catch(undefined),
  message: z.string().optional().catch(undefined),
  statusCode: z.int().optional().catch(undefined),
});

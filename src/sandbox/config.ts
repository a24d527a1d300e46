import { isAbsolute } from "node:path";
import { z } from "zod";
import { IsolationLevel } from "../core/isolation.ts";

const mebibyte = 1024 * 1024;

const engineNames = ["quickjs", "pyodide", "bubblewrap", "docker"] as const;

/** The `sandbox` part of the config: what one run of code may use at most, and how much is kept ready. */
export const SandboxConfig = z.strictObject({
  /** Which engines are offered. Code runs in the first that speaks its language, is as strong as is asked for, and works here. */
  engines: z
    .array(z.enum(engineNames))
    .min(1)
    .default([...engineNames]),
  /** The weakest isolation that any code may run at; a grant can only ask for more. */
  isolation: IsolationLevel.default("wasm-in-thread"),
  /** Wall time of one run; a call may ask for less. */
  timeoutMs: z.int().min(1).max(600_000).default(30_000),
  memoryMb: z.int().min(16).max(4096).default(256),
  /** stdout and stderr together; what is beyond is cut and flagged. */
  outputKb: z.int().min(1).max(4096).default(256),
  resultKb: z.int().min(1).max(4096).default(256),
  /** All input files of a run together. */
  inputMb: z.int().min(0).max(256).default(64),
  /** All artifacts of a run together. */
  artifactKb: z.int().min(0).max(65_536).default(16_384),
  artifacts: z.int().min(0).max(100).default(20),
  /** Tool calls that one run of code may make. */
  calls: z.int().min(0).max(10_000).default(100),
  /** Sessions: sandboxes that live on between calls. Their variables are bounded by all of these; their files live longer. */
  sessions: z
    .strictObject({
      /** Of one user, and of all, that have variables at a time; the one that was used longest ago makes room. */
      each: z.int().min(1).max(64).default(4),
      all: z.int().min(1).max(256).default(8),
      /** Of one user together, as their last runs took at most. */
      memoryMb: z.int().min(16).max(65_536).default(1024),
      idleMs: z.int().min(1_000).max(86_400_000).default(600_000),
      lifetimeMs: z.int().min(1_000).max(604_800_000).default(14_400_000),
      /** Of one user, whose files are kept, and for how long after they were used last. */
      kept: z.int().min(1).max(1_000).default(32),
      keptDays: z.int().min(1).max(365).default(7),
    })
    .prefault({}),
  /** JavaScript runs at a time that get a worker at once; one more waits a moment for one of theirs. */
  workers: z.int().min(1).max(64).default(2),
  /** Python processes kept ready after the first use, until nobody wanted one for five minutes. Each takes about 140 MB. */
  warmPython: z.int().min(0).max(16).default(1),
  /** Of the machine's Python and Node each, kept ready in bubblewrap after the first use: some 14 and 48 MB. */
  warmBubblewrap: z.int().min(0).max(16).default(1),
  /** `auto` starts Python inside bubblewrap where it works; `never` does not, and its network is then only stubbed. */
  bubblewrap: z.enum(["auto", "never"]).default("auto"),
  /** A folder with wheels of pure Python, which code in Pyodide can import. Missing: it has the standard library only. */
  wheels: z
    .string()
    .refine((path) => isAbsolute(path), "expected an absolute path")
    .optional(),
  /** Containers of Docker or podman. */
  docker: z
    .strictObject({
      /** The daemon's Unix socket. Who may use it is as good as root on its machine, unless the daemon is rootless. */
      socket: z
        .string()
        .refine((path) => isAbsolute(path), "expected the absolute path of a socket, without unix://")
        .default("/var/run/docker.sock"),
      /** It is never pulled: `capstan sandbox build` makes the default one. */
      image: z
        .string()
        .regex(/^[a-z0-9][\w./:@-]*$/, "expected the name of an image, such as capstan-sandbox:latest")
        .default("capstan-sandbox"),
      /** What the daemon runs containers with, where it is not its default: `runsc` is gVisor. */
      runtime: z.string().min(1).optional(),
      /** Containers of each language kept ready after the first use. */
      warm: z.int().min(0).max(16).default(1),
    })
    .prefault({}),
});
export type SandboxConfig = Readonly<z.infer<typeof SandboxConfig>>;

/** The limits of a run by the config; a request and a grant can only lower them. */
export function toExecLimits(config: SandboxConfig) {
  return {
    wallMs: config.timeoutMs,
    cpuMs: config.timeoutMs,
    memoryBytes: config.memoryMb * mebibyte,
    outputBytes: config.outputKb * 1024,
    resultBytes: config.resultKb * 1024,
    artifactBytes: config.artifactKb * 1024,
    artifacts: config.artifacts,
    calls: config.calls,
  };
}

/** The limits of sessions by the config. */
export function toSessionLimits({ sessions, inputMb }: SandboxConfig) {
  const { memoryMb, keptDays, ...limits } = sessions;
  return {
    ...limits,
    memoryBytes: memoryMb * mebibyte,
    keptMs: keptDays * 86_400_000,
    inputBytes: inputMb * mebibyte,
  };
}

/** How many bytes all input files of a run may have together. */
export const toInputBytes = ({ inputMb }: SandboxConfig): number => inputMb * mebibyte;

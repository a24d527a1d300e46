import { existsSync } from "node:fs";
import { CapstanError, toCapstanError } from "../core/error.ts";
import { toCommand } from "./docker/commands.ts";
import { egressPath, startContainer } from "./docker/container.ts";
import { connect, type Daemon, explain } from "./docker/daemon.ts";
import { sweep, toHomeId, toLabels } from "./docker/owner.ts";
import { demandAble, type Engine, type Isolation, type Unavailable } from "./engine.ts";
import type { Interpreter } from "./guest/interpreters.ts";
import type { Guest } from "./process/guest.ts";
import { unlessAborted } from "./process/pool.ts";
import { openSandboxes } from "./process/sandboxes.ts";

const name = "docker";

/**
 * Code in containers of Docker or podman: one for each run, started before it is needed. `cacheDir` tells the containers of this home
 * from those of others on the daemon. `runtime` is the daemon's name for what runs containers; with gVisor's (`runsc`) the level is
 * `user-space-kernel`. `memoryBytes` is what most runs may take: one that may take another amount starts some 15 ms later. `warm`
 * (default 1) containers of a language are kept ready once it was used.
 */
export function openDockerEngine(options: {
  readonly cacheDir: string;
  readonly socket: string;
  readonly image: string;
  readonly runtime?: string | undefined;
  readonly memoryBytes: number;
  readonly warm?: number;
}): Engine {
  const { cacheDir, socket, image, runtime, memoryBytes, warm = 1 } = options;
  const level = runtime === "runsc" ? "user-space-kernel" : "container";
  const isolation: Isolation = { engine: name, level, network: "network namespace (container)" };
  const homeId = toHomeId(cacheDir);
  let connecting: Promise<Daemon | Unavailable> | undefined;
  let sweeping: Promise<void> | undefined;

  async function boot(interpreter: Interpreter, signal: AbortSignal, socketPath?: string): Promise<Guest> {
    const command = toCommand(interpreter, socketPath === undefined ? undefined : egressPath);
    const labels = toLabels(homeId);
    try {
      const daemon = await unlessAborted((connecting ??= connect({ socket, image, runtime, cacheDir })), signal);
      if ("reason" in daemon) throw toError(daemon);
      sweeping ??= sweep(daemon.docker, homeId).catch(() => undefined);
      return await startContainer(daemon, { command, memoryBytes, runtime, labels, socketPath }, signal);
    } catch (thrown) {
      // The next boot looks anew: by then the daemon may run, or the image may be there.
      connecting = undefined;
      signal.throwIfAborted();
      if (socketPath !== undefined && String(thrown).includes(egressPath)) throw toError(noWayOut(socket), thrown);
      throw thrown instanceof CapstanError ? thrown : toError(explain(thrown, socket, image), thrown);
    }
  }
  const sandboxes = openSandboxes({ isolation, warm }, boot);

  const engine: Engine = {
    name,
    level,
    languages: ["python", "javascript", "typescript", "bash"],
    packages: ["those of its image"],
    can: { sessions: true, network: true },
    isInstalled: () => existsSync(socket),

    async probe(signal) {
      const connected = await unlessAborted(connect({ socket, image, runtime, cacheDir }), signal);
      if ("reason" in connected) return connected;
      // An image may lack an interpreter, which is no reason to do without the others.
      let first: string | undefined;
      for (const language of ["python", "javascript"] as const) {
        const problem = await engine.open({ language }, signal).then(
          (sandbox) => sandbox[Symbol.asyncDispose](),
          (thrown: unknown) => toCapstanError(thrown).message,
        );
        if (problem === undefined) return null;
        first ??= problem;
      }
      return { reason: first ?? "", remedy: "`capstan sandbox build` makes an image with both." };
    },

    async open(spec, signal) {
      demandAble(engine, spec);
      return await sandboxes.open(spec, signal);
    },

    async [Symbol.asyncDispose]() {
      await sandboxes[Symbol.asyncDispose]();
      await sweeping;
    },
  };

  return engine;
}

/** A daemon elsewhere mounts nothing, or an empty folder; gVisor refuses to, unless it was told. */
const noWayOut = (socket: string): Unavailable => ({
  reason: `Docker at ${socket} gives containers no socket of this machine, which is their way to a network.`,
  remedy:
    'Use a daemon on this machine, and with gVisor add "--host-uds=open" to the runtimeArgs of runsc (daemon.json).',
});

function toError({ reason, remedy }: Unavailable, cause?: unknown): CapstanError {
  return new CapstanError("sandbox.unavailable", `${reason} ${remedy}`, { cause });
}

import { CapstanError, toCapstanError } from "../core/error.ts";
import { commands } from "./docker/commands.ts";
import { type DockerGuest, startContainer } from "./docker/container.ts";
import { connect, type Daemon, explain } from "./docker/daemon.ts";
import { sweep, toHomeId, toLabels } from "./docker/owner.ts";
import { demandAble, type Engine, type ExecRequest, type Isolation, type Unavailable } from "./engine.ts";
import { openPool, type Pool } from "./process/pool.ts";
import { toSandbox } from "./process/sandbox.ts";

const name = "docker";
/** Containers of one language that may be taken at a time. */
const maxTaken = 16;

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
  const closing = new AbortController();
  /** Languages that start alike share one. */
  const pools = new Map<readonly string[] | undefined, Pool<DockerGuest>>();
  let connecting: Promise<Daemon | Unavailable> | undefined;
  let sweeping: Promise<void> | undefined;

  async function boot(command: readonly string[], signal: AbortSignal): Promise<DockerGuest> {
    try {
      const daemon = await (connecting ??= connect({ socket, image, runtime, cacheDir }));
      if ("reason" in daemon) throw toError(daemon);
      sweeping ??= sweep(daemon.docker, homeId).catch(() => undefined);
      return await startContainer(daemon, { command, memoryBytes, runtime, labels: toLabels(homeId) }, signal);
    } catch (thrown) {
      // The next boot looks anew: by then the daemon may run, or the image may be there.
      connecting = undefined;
      signal.throwIfAborted();
      throw thrown instanceof CapstanError ? thrown : toError(explain(thrown, socket, image), thrown);
    }
  }
  for (const command of new Set(commands.values())) {
    pools.set(
      command,
      openPool({ warm, maxTaken }, (signal) => boot(command, signal)),
    );
  }

  const engine: Engine = {
    name,
    level,
    languages: [...commands.keys()],
    can: { sessions: true, network: false },

    async probe(signal) {
      const connected = await connect({ socket, image, runtime, cacheDir });
      signal.throwIfAborted();
      if ("reason" in connected) return connected;
      // An image may lack an interpreter, which is no reason to do without the others.
      let first: string | undefined;
      for (const language of engine.languages) {
        const problem = await engine.open({ language }, signal).then(
          (sandbox) => sandbox[Symbol.asyncDispose](),
          (thrown: unknown) => toCapstanError(thrown).message,
        );
        if (problem === undefined) return null;
        first ??= problem;
      }
      return { reason: first ?? "", remedy: `The image ${image} needs Python 3.9, for bash too, or Node 24.` };
    },

    async open(spec, signal) {
      demandAble(engine, spec);
      const lease = await pools.get(commands.get(spec.language))?.take(signal);
      if (lease === undefined) throw new Error(`There is no pool for ${spec.language}.`);
      const { guest } = lease;
      const sandbox = toSandbox(lease, spec, isolation, closing.signal);
      return {
        async run(request, stop) {
          await guest.limitMemory(request.limits.memoryBytes).catch((thrown: unknown) => {
            // podman before 5 can't; then a lower limit is held by what reads the meter.
            if (guest.meter() === null) throw toError(explain(thrown, socket, image), thrown);
          });
          return await sandbox.run(withTime(guest, request), stop);
        },
        [Symbol.asyncDispose]: () => sandbox[Symbol.asyncDispose](),
      };
    },

    async [Symbol.asyncDispose]() {
      closing.abort();
      await Promise.all([...pools.values()].map((pool) => pool[Symbol.asyncDispose]()));
      await sweeping;
    },
  };

  return engine;
}

/** Where nobody here can count the processor time of a container it is charged as wall time, and held to its limit as such. */
function withTime(guest: DockerGuest, request: ExecRequest): ExecRequest {
  const { limits } = request;
  if (guest.meter() !== null) return request;
  return { ...request, limits: { ...limits, wallMs: Math.min(limits.wallMs, limits.cpuMs) } };
}

function toError({ reason, remedy }: Unavailable, cause?: unknown): CapstanError {
  return new CapstanError("sandbox.unavailable", `${reason} ${remedy}`, { cause });
}

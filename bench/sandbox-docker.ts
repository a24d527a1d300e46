import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { openDockerEngine } from "../src/sandbox/docker.ts";
import { toSeccompProfile } from "../src/sandbox/docker/seccomp.ts";
import { dockerSocket as socket, testImage } from "../test/support/docker.ts";
import { openBenchApp, tempFolder } from "./home.ts";
import type { Figure } from "./measure.ts";
import { measureBeside, wallMs } from "./measure.ts";
import { execute, leaveOut, programs, python, runProgram, runsPerSecond } from "./sandbox-run.ts";

const engines: ["docker"] = ["docker"];
const memoryMb = 256;
const sustainedRuns = 10;
/** The pool starts the next container meanwhile. */
const restMs = 1_500;

/** Python in containers of this machine's own programs; nothing, and a line that says why, where no daemon is. */
export async function* benchContainers(): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  const image = await testImage().catch(() => "");
  const problem = await probe(folder.path, image);
  if (problem !== undefined) {
    leaveOut("docker", problem);
    return;
  }
  const profile = join(folder.path, "seccomp.json");
  await writeFile(profile, toSeccompProfile());
  const flags = [...confinement, "--security-opt", `seccomp=${profile}`, image];
  const name = `capstan-bench-${randomUUID()}`;
  await docker("run", "--rm", "-d", "--name", name, ...flags, "sleep", "infinity");
  await using _ = { [Symbol.asyncDispose]: async () => void (await docker("kill", name)) };
  const command = ["/usr/bin/python3", ...programs.python];
  const started = "docker run --rm, same image, same flags";
  const entered = "docker exec into one container for all runs";
  const run = () => runProgram("docker", [...host, "run", "--rm", ...flags, ...command]);
  const enter = () => runProgram("docker", [...host, "exec", name, ...command]);
  const peers = { [started]: () => wallMs(run), [entered]: () => wallMs(enter) };
  const about = { bench: "sandbox", unit: "ms", rounds: 5, peers };
  const config = { engines, memoryMb };
  {
    await using app = await openBenchApp(folder.path, { ...config, docker: { socket, image, warm: 1 } });
    const ours = (): Promise<void> => execute(app, python);
    yield* await measureBeside({
      ...about,
      figure: "Python in a container that waits",
      goal: { of: "ours", atMost: 90 },
      async ours() {
        await sleep(restMs);
        return await wallMs(ours);
      },
    });
    yield* await measureBeside({
      ...about,
      figure: "Python in containers, 2 at a time",
      unit: "runs/s",
      ours: () => runsPerSecond(sustainedRuns, 2, ours),
      peers: {
        [started]: () => runsPerSecond(sustainedRuns, 2, run),
        [entered]: () => runsPerSecond(sustainedRuns, 2, enter),
      },
    });
  }
  await using app = await openBenchApp(folder.path, { ...config, docker: { socket, image, warm: 0 } });
  yield* await measureBeside({
    ...about,
    figure: "Python in a container, none waiting (it starts)",
    peers: { [started]: peers[started] },
    ours: () => wallMs(() => execute(app, python)),
  });
}

const host = ["-H", `unix://${socket}`];

const docker = (...words: readonly string[]) => promisify(execFile)("docker", [...host, ...words]);

/** What separates our containers from the host, as options of the command. */
const confinement = [
  ...["--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
  ...["--user", "65534:65534", "--ipc", "none", "--log-driver", "none", "--no-healthcheck", "--pids-limit", "64"],
  ...["--memory", "448m", "--memory-swap", "448m", "--cpus", "1", "--ulimit", "nofile=256:256", "--ulimit", "core=0"],
  ...["/in", "/out", "/tmp", "/run", "/var/tmp"].flatMap((path) => ["--tmpfs", `${path}:rw,nosuid,nodev,noexec`]),
];

/** Why containers don't work here; missing: they do. */
async function probe(cacheDir: string, image: string): Promise<string | undefined> {
  await using engine = openDockerEngine({ cacheDir, socket, image, memoryBytes: memoryMb * 1024 * 1024, warm: 0 });
  const problem = await engine.probe(new AbortController().signal);
  return problem?.reason;
}

/** A program that starts a busy run in a container, says so, and waits to be killed. Its argument is the options of the engine. */
import { setTimeout as sleep } from "node:timers/promises";
import { openDockerEngine } from "../../src/sandbox/docker.ts";
import { runIn } from "./hostile.ts";

const engine = openDockerEngine(JSON.parse(process.argv[2] ?? ""));
const running = runIn(engine, "python", "print(1)\nwhile True: pass", { limits: { wallMs: 60_000, cpuMs: 60_000 } });
await Promise.race([running, sleep(2_000)]);
process.stdout.write("running\n");
await running;

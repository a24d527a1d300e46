/** A program that starts a busy run in a container, says so, and waits to be killed. Its argument is the options of the engine. */
import { openDockerEngine } from "../../src/sandbox/docker.ts";
import { runIn } from "./hostile.ts";

const engine = openDockerEngine(JSON.parse(process.argv[2] ?? ""));
const onCall = async (): Promise<null> => {
  process.stdout.write("running\n");
  return null;
};
await runIn(engine, "python", "tools.begun()\nwhile True: pass", { onCall, limits: { wallMs: 60_000, cpuMs: 60_000 } });

import { SandboxConfig, toExecLimits } from "../../src/sandbox/config.ts";
import { openDockerEngine } from "../../src/sandbox/docker.ts";
import { dockerSocket, testImage } from "../support/docker.ts";
import { pythonCache } from "../support/python.ts";
import { describeMatrix } from "./matrix.ts";

// Where there is no daemon to ask for the image, the engine's own probe says so.
const image = await testImage().catch(() => "none");
const { memoryBytes } = toExecLimits(SandboxConfig.parse({}));
await describeMatrix({
  name: "docker",
  engine: openDockerEngine({ cacheDir: pythonCache, socket: dockerSocket, image, memoryBytes }),
});

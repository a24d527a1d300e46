import { beforeAll } from "vitest";
import { openDockerEngine } from "../../src/sandbox/docker.ts";
import { testLimits } from "../sandbox/hostile.ts";
import { dockerSocket, testImage } from "../support/docker.ts";
import { describeWith } from "../support/machine.ts";
import { describeCodeMode, pythonCodeMode } from "./code-mode.ts";

describeWith("docker")("in containers", () => {
  let image = "";
  beforeAll(async () => {
    image = await testImage();
  });
  const { memoryBytes } = testLimits;
  // JavaScript has the same program there as in bubblewrap, and a container takes its time.
  describeCodeMode(
    "Python of a container",
    () => openDockerEngine({ cacheDir: "/tests", socket: dockerSocket, image, memoryBytes }),
    pythonCodeMode,
  );
});

import { beforeAll } from "vitest";
import { openDockerEngine } from "../../src/sandbox/docker.ts";
import { dockerSocket, testImage } from "../support/docker.ts";
import { describeWith } from "../support/machine.ts";
import { describeEngine } from "./conformance.ts";
import { testLimits } from "./hostile.ts";
import { pythonSnippets, scriptSnippets } from "./snippets.ts";

describeWith("docker")("in containers", () => {
  let image = "";
  beforeAll(async () => {
    image = await testImage();
  });
  const memoryBytes = testLimits.memoryBytes;
  const open = () => openDockerEngine({ cacheDir: "/tests", socket: dockerSocket, image, memoryBytes });

  describeEngine("Docker, Python", open, pythonSnippets);
  describeEngine("Docker, JavaScript", open, scriptSnippets);
});

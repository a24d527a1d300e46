import { tmpdir } from "node:os";
import { beforeAll } from "vitest";
import { openDockerEngine } from "../../src/sandbox/docker.ts";
import { dockerSocket, testImage } from "../support/docker.ts";
import { describeWith } from "../support/machine.ts";
import { testLimits } from "./hostile.ts";
import { machinePythonSession, scriptSession } from "./session-snippets.ts";
import { describeSessions } from "./session.ts";

describeWith("docker")("in containers", () => {
  let image = "";
  beforeAll(async () => {
    image = await testImage();
  });
  const open = () =>
    openDockerEngine({ cacheDir: tmpdir(), socket: dockerSocket, image, memoryBytes: testLimits.memoryBytes });
  describeSessions("Docker, Python", open, machinePythonSession);
  describeSessions("Docker, Node", open, scriptSession);
});

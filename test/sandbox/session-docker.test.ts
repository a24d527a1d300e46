import { tmpdir } from "node:os";
import { beforeAll, expect, test } from "vitest";
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
  test.for([machinePythonSession, scriptSession])(
    "a later call of a $language session takes a large file",
    async (of) => {
      const { language } = of;
      const { signal } = new AbortController();
      await using engine = open();
      await using session = await engine.open({ language, isSession: true }, signal);
      const request = { language, limits: testLimits };
      expect(await session.run({ ...request, code: of.begin, files: [] }, signal)).toMatchObject({ result: 1 });
      const files = [{ path: "large", bytes: Buffer.alloc(16 << 20) }];
      expect(await session.run({ ...request, code: of.add, files }, signal)).toMatchObject({ status: "ok", result: 2 });
    },
  );
  describeSessions("Docker, Python", open, machinePythonSession);
  describeSessions("Docker, Node", open, scriptSession);
});

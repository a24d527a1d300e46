import { tmpdir } from "node:os";
import { openDockerEngine } from "../../src/sandbox/docker.ts";
import { dockerSocket, testImage } from "../support/docker.ts";
import { describeNetwork } from "./egress-network.ts";
import { testLimits } from "./hostile.ts";

const network = "network namespace (container)";
const openEngine = async (runtime?: string) => {
  const { memoryBytes } = testLimits;
  const image = await testImage();
  return openDockerEngine({ cacheDir: tmpdir(), socket: dockerSocket, image, runtime, memoryBytes, warm: 0 });
};

describeNetwork("a container", () => openEngine(), { needed: "docker", network });
describeNetwork("a container in gVisor", () => openEngine("runsc"), { needed: "gvisor", network });

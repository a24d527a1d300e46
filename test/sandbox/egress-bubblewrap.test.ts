import { chmodSync, readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect } from "vitest";
import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import { testWith } from "../support/machine.ts";
import { tempFolder } from "../support/temp.ts";
import { describeNetwork } from "./egress-network.ts";
import { testLimits } from "./hostile.ts";

/** The folders of proxies, in a folder of this test alone that other users can walk through. */
const folder = await tempFolder();
chmodSync(folder.path, 0o711);
process.env["TMPDIR"] = folder.path;
afterAll(() => folder[Symbol.asyncDispose]());
const folders = () => readdirSync(folder.path);

const openEngine = () => openBubblewrapEngine({ warm: 0 });
describeNetwork("bubblewrap", openEngine, { needed: "bubblewrap", network: "network namespace (bubblewrap)" });

testWith("bubblewrap")(
  "leaves no proxy of bubblewrap behind: not after its run, nor when the engine is closed over it",
  async () => {
    const never = new AbortController().signal;
    const closed = openEngine();
    const sandbox = await closed.open({ language: "python", isNetworked: true }, never);
    expect(folders()).toHaveLength(1);
    const running = sandbox.run({ language: "python", code: "while True: pass", files: [], limits: testLimits }, never);
    await sleep(50);
    await closed[Symbol.asyncDispose]();
    expect(await running).toMatchObject({ status: "cancelled" });
    expect(folders()).toEqual([]);
    await expect(closed.open({ language: "python", isNetworked: true }, never)).rejects.toHaveProperty(
      "code",
      "sandbox.unavailable",
    );
  },
);

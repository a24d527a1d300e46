import { expect, test } from "vitest";
import { HostConfig } from "../../../src/host/config.ts";
import { testTool } from "../../support/door.ts";

test("what is done about each kind of failure is what the docs say, where the config says nothing", () => {
  const { retries, circuit, cache, pacing } = HostConfig.parse({});
  expect(retries).toEqual({
    model: { retries: 3, firstMs: 1_000, capMs: 30_000 },
    rateLimited: { retries: 3, queueMs: 120_000 },
    callMs: 600_000,
    tool: { retries: 2, delayMs: 500 },
    store: { retries: 5, firstMs: 20 },
    memory: { retries: 2, delayMs: 100 },
  });
  expect(circuit).toEqual({ failures: 5, windowMs: 60_000, openMs: 30_000 });
  expect(cache).toMatchObject({ store: "off", toolTurns: false });
  expect(pacing).toEqual({});
  expect(testTool("any").bind({}).timeoutMs).toBe(30_000);
});

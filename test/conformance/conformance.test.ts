import { expect, test } from "vitest";
import { openFixture } from "./fixture.ts";
import { openProxy } from "./proxy.ts";
import { runScenario } from "./suite.ts";

test("the conformance suite passes through the door and its guards, and fails without a token", async () => {
  await using proxy = await openProxy({ isOld: false });
  await using fixture = await openFixture({ hosts: [proxy.host], origins: [`http://${proxy.host}`] });
  const url = `http://${proxy.host}/mcp`;
  const run = async () =>
    await Promise.all([
      runScenario(url, "dns-rebinding-protection", "2025-11-25"),
      runScenario(url, "input-required-result-tampered-state", "2026-07-28"),
    ]);
  proxy.target(fixture.url, fixture.token);
  expect(await run()).toEqual([true, true]);
  proxy.target(fixture.url, "none");
  expect(await run()).toEqual([false, false]);
});

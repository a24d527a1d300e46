import { expect, test } from "vitest";
import { openServed } from "../../conformance/served.ts";
import { runScenario } from "../../conformance/suite.ts";

const scenarios = [
  ...["tasks-lifecycle", "tasks-capability-negotiation", "tasks-wire-fields", "tasks-request-state-removal"],
  ...["tasks-mrtr-input", "tasks-request-headers", "tasks-dispatch-and-envelope", "tasks-required-task-error"],
  "tasks-mrtr-composition",
];

test("the conformance suite's scenarios of the extension Tasks pass", async () => {
  await using served = await openServed({ isOld: false });
  const passed: string[] = [];
  for (const scenario of scenarios) {
    if (await runScenario(served.url, scenario)) passed.push(scenario);
  }
  expect(passed).toEqual(scenarios);
});

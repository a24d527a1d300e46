import { expect, test } from "vitest";
import { openApp } from "../src/app.ts";
import { localScope } from "../src/core/scope.ts";
import { tempFolder } from "./support/temp.ts";

test("openApp() reports what of its housekeeping fails, and opens", async () => {
  await using home = await tempFolder();
  const faults: unknown[] = [];
  const open = () => openApp({ home: home.path, onFault: (fault) => faults.push(fault) });
  await (async () => {
    await using app = await open();
    const records = [
      { kind: "artifact-sums", key: "local/operator/", value: { of: "another version" } },
      { kind: "session", key: "local/operator//work", value: { of: "another version" } },
    ];
    await app.store.commit({ scope: localScope, records });
  })();
  expect(faults).toEqual([]);
  await using app = await open();
  expect(app.toolNames.map(({ name }) => name)).toContain("session_list");
  expect(faults).toHaveLength(1);
});

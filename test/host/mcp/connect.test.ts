import { expect, test } from "vitest";
import { byHand, openTestConnection } from "./connect-support.ts";

const signal = (): AbortSignal => AbortSignal.timeout(110_000);

test.each([
  ["modern", "modern", 1],
  ["legacy", "legacy", 1],
  ["both", "modern", 1],
  ["exits", "legacy", 2],
  ["silent", "legacy", 1],
  ["slow", "modern", 1],
  ["hesitant", "modern", 1],
  ["older", "legacy", 1],
])("a server on stdio that is %s is spoken to as %s, in %i process", async (kind, era, starts) => {
  // Half of it goes by in silence where the server says nothing at first.
  await using connection = await openTestConnection(byHand([kind], { startTimeoutMs: 3_000, timeoutMs: 20_000 }));
  expect(connection.era()).toBeUndefined();
  expect(await connection.text("echo", { text: "hi" })).toBe("hi");
  expect(connection.era()).toBe(era);
  expect(connection.starts()).toBe(starts);
});

test("lists are read page by page, and what is malformed in them is left out", async () => {
  await using connection = await openTestConnection(byHand(["legacy"]));
  expect((await connection.listTools(signal())).map(({ name }) => name)).toEqual(["one", "two", "three"]);
  expect(await connection.listResources(signal())).toEqual([{ uri: "test://a", name: "a" }]);
  expect(await connection.listPrompts(signal())).toEqual([{ name: "p" }]);
  expect(await connection.listResourceTemplates(signal())).toEqual([]);
});

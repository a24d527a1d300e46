import { expect, test } from "vitest";
import { byHand, codeOf, openTestConnection, until } from "./connect-support.ts";

const signal = (): AbortSignal => AbortSignal.timeout(110_000);

test.each(["modern", "legacy"])("what changes at a %s server is told, also after it was started again", async (era) => {
  await using connection = await openTestConnection(byHand([era]), { isHeard: true });
  const types = (): string[] => connection.changes.map(({ type }) => type);
  await connection.subscribe("test://a", signal());
  await connection.text("change");
  expect(types()).toEqual(expect.arrayContaining(["up", "tools", "prompts", "resources", "resource"]));

  // Nobody calls: it comes back because somebody listens, and its subscriptions with it.
  expect(await codeOf(connection.text("exit"))).toBe("mcp.server_gone");
  await until(() => types().filter((type) => type === "up").length === 2);
  const followed = era === "modern" ? '"resourceSubscriptions":["test://a"]' : '"subscriptions":["test://a"]';
  await until(async () => (await connection.text("seen")).includes(followed));
  expect(connection.changes).toContainEqual({ type: "down", why: "ended with exit code 7" });

  await connection.unsubscribe("test://a", signal());
  expect(await connection.text("seen")).not.toContain("test://a");
});

test("a stream of changes that ends is opened again, and everything counts as changed", async () => {
  await using connection = await openTestConnection(byHand(["modern"]), { isHeard: true });
  await until(async () => (await connection.text("seen")).includes("toolsListChanged"));
  connection.changes.length = 0;
  await connection.text("end-listen");
  await until(() => connection.changes.length >= 3);
  expect(connection.changes.map(({ type }) => type)).toEqual(["tools", "resources", "prompts"]);
  expect(await connection.text("seen")).toContain("toolsListChanged");
});

test("a server that nobody listens to is started again by the next call alone", async () => {
  await using connection = await openTestConnection(byHand(["legacy"]));
  expect(await codeOf(connection.text("exit"))).toBe("mcp.server_gone");
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(connection.starts()).toBe(1);
  expect(await connection.text("echo", { text: "back" })).toBe("back");
  expect(connection.starts()).toBe(2);
});

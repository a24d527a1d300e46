import { expect, test } from "vitest";
import type { JsonObject } from "../../../src/core/json.ts";
import { lists, readPages } from "../../../src/host/mcp/connection/lists.ts";

/** A server whose page after `cursor` pages is what `page` says. */
const read = async (page: (at: number) => JsonObject) =>
  await readPages("far", lists.tools, async (_method, { cursor }) => page(Number(cursor ?? 0)));

const named = (name: string, description = ""): JsonObject => ({ name, description, inputSchema: {} });

test("readPages() reads every page, and leaves out what is no object", async () => {
  const found = await read((at) => ({
    tools: [named(`t${at}`), 7, null],
    ...(at < 3 ? { nextCursor: `${at + 1}` } : {}),
  }));
  expect(found.map(({ name }) => name)).toEqual(["t0", "t1", "t2", "t3"]);
});

test.each<[string, (at: number) => JsonObject, RegExp]>([
  ["goes in circles", (at) => ({ tools: [], nextCursor: `${1 - at}` }), /gave the same cursor of tools\/list twice/],
  ["goes on for ever", (at) => ({ tools: [named(`t${at}`)], nextCursor: `${at + 1}` }), /has more than 200 pages/],
  [
    "holds too many",
    () => ({ tools: Array.from({ length: 10_001 }, (_, at) => named(`t${at}`)) }),
    /more than 10000 tools/,
  ],
  ["is no list", () => ({ tools: { a: named("a") } }), /answered tools\/list without tools/],
  [
    "fills the memory page by page",
    (at) => ({ tools: [named(`t${at}`, "x".repeat(1_000_000))], nextCursor: `${at + 1}` }),
    /lists more than 33554432 characters of tools/,
  ],
])("readPages() refuses a list that %s", async (_what, page, message) => {
  await expect(read(page)).rejects.toMatchObject({ code: "mcp.protocol", message: expect.stringMatching(message) });
});

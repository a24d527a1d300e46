import { expect, test } from "vitest";
import { toBlocks, toContents, withoutCopy } from "../../../src/host/mcp/bridge/content.ts";
import { toBridgedUris } from "../../../src/host/mcp/bridge/uris.ts";

const uris = toBridgedUris("notes", true, ["notes", "other"]);

test("a part of no known form, or malformed, becomes a note and never breaks the others", () => {
  const content = [
    null,
    7,
    "text",
    { type: "video", data: "aGk=" },
    { type: "text", text: 7 },
    { type: "image", data: "aGk=" },
    { type: "resource" },
    { type: "resource", resource: { uri: "note://a" } },
    { type: "resource_link", uri: "note://a" },
    { type: `evil\u001b[2J${"x".repeat(100)}` },
    { type: "text", text: "good" },
  ];
  const blocks = toBlocks(content, uris);
  expect(blocks).toHaveLength(content.length);
  expect(blocks.at(-1)).toEqual({ type: "text", text: "good" });
  for (const block of blocks.slice(0, -1)) {
    expect(block).toEqual({
      type: "text",
      text: expect.stringMatching(/^\[left out: a part of the result .{0,80}\]$/),
    });
  }
  expect(JSON.stringify(blocks)).not.toContain("u001b");
});

test("links and what is embedded lead to their own server", () => {
  const link = {
    type: "resource_link",
    uri: "other+note://a",
    name: "a",
    size: 3,
    title: "A",
    icons: ["x"],
    _meta: {},
  };
  expect(toBlocks([link], uris)).toEqual([
    { type: "resource_link", uri: "notes+other+note://a", name: "a", title: "A", bytes: 3 },
  ]);
  expect(toContents([{ uri: "note://a", blob: "aGk=" }, { uri: "note://b" }, { text: "no uri" }, null], uris)).toEqual([
    { uri: "notes+note://a", blob: "aGk=" },
  ]);
});

test("text that repeats a value is left out, and no other text", () => {
  const blocks = ['{"b":[1],"a":null}', '{"a":null}', "[1]", "{broken", "words"].map((text) => ({
    type: "text" as const,
    text,
  }));
  const kept = withoutCopy(blocks, { a: null, b: [1] });
  expect(kept.map((block) => (block.type === "text" ? block.text : ""))).toEqual([
    '{"a":null}',
    "[1]",
    "{broken",
    "words",
  ]);
});

test("each server's URIs lead back to it and to nobody else", () => {
  const bare = toBridgedUris("bare", false, ["notes", "bare"]);
  for (const uri of ["note://a", "capstan://artifacts/1", "CAPSTAN:x", "notes+note://a", "bare+note://a", ""]) {
    expect(uris.toOwn(uris.toPublished(uri))).toBe(uri);
    expect(bare.toOwn(uris.toPublished(uri))).toBeNull();
    expect(uris.toOwn(bare.toPublished(uri))).toBeNull();
  }
  for (const uri of ["note://a", "capstan://artifacts/1", "notes+note://a"])
    expect(bare.toOwn(bare.toPublished(uri))).toBe(uri);
  expect(bare.toPublished("note://a")).toBe("note://a");
  for (const uri of ["capstan://artifacts/1", "CAPSTAN:x", "notes+note://a"]) expect(bare.toOwn(uri)).toBeNull();
});

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { JsonObject } from "../../../src/core/json.ts";
import { tempFolder } from "../../support/temp.ts";
import { openBridgedApp, textOf, withSdk } from "./bridged-app.ts";

/** A server whose tool `typed` promises `{ n: integer }`, and `plain` nothing; each answers what it is told to. */
async function openNotes(era = "legacy") {
  await using opened = new AsyncDisposableStack();
  const folder = opened.use(await tempFolder()).path;
  const outputSchema = { type: "object", properties: { n: { type: "integer" } }, required: ["n"] };
  const tools = [{ name: "result" }, { name: "typed", outputSchema }];
  await writeFile(join(folder, "offer.json"), JSON.stringify({ tools }));
  const app = opened.use(await openBridgedApp({ notes: withSdk(folder, {}, era) }));
  await app.ready();
  const owned = opened.move();
  const answer = async (name: "result" | "typed", result: JsonObject) => await app.call(`notes__${name}`, { result });
  return { ...app, answer, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

test("a result keeps its blocks, and its value stands there once", async () => {
  await using opened = await openNotes();
  const copy = { type: "text", text: '{ "n": 1 }' };
  const other = { type: "text", text: "in words", annotations: { audience: ["user"] } };
  const image = { type: "image", data: "aGk=", mimeType: "image/png" };
  const embedded = { type: "resource", resource: { uri: "note://a", mimeType: "text/plain", text: "a" } };
  const blocks = [other, image, { type: "resource", uri: "notes+note://a", mimeType: "text/plain", text: "a" }];
  const typed = await opened.answer("typed", { content: [copy, other, image, embedded], structuredContent: { n: 1 } });
  expect(typed).toEqual({ structuredContent: { n: 1 }, content: [{ type: "text", text: '{"n":1}' }, ...blocks] });
  // Nothing was promised, and a value came all the same.
  const plain = await opened.answer("result", { content: [], structuredContent: { free: [1] } });
  expect(plain).toEqual({ structuredContent: { free: [1] }, content: [{ type: "text", text: '{"free":[1]}' }] });
});

test.each<[string, JsonObject]>([
  ["a value of another kind", { structuredContent: { n: "one" } }],
  ["no value", { content: [{ type: "text", text: '{"n":1}' }] }],
])("%s in place of what was promised is an error of that call alone", async (_what, result) => {
  await using opened = await openNotes();
  const broken = await opened.answer("typed", result);
  expect(broken.isError).toBe(true);
  expect(textOf(broken)).toMatch(/^tool\.bad_output: /);
  expect(broken.structuredContent).toBeUndefined();
  expect((await opened.answer("typed", { structuredContent: { n: 1 } })).structuredContent).toEqual({ n: 1 });
});

test("an error of the tool stays one, and needs no value", async () => {
  await using opened = await openNotes();
  const content = [{ type: "text", text: "The disk is full." }];
  expect(await opened.answer("typed", { isError: true, content })).toEqual({ isError: true, content });
  const valued = await opened.answer("typed", { isError: true, content, structuredContent: { why: "full" } });
  expect(valued).toEqual({ isError: true, content: [...content, { type: "text", text: '{"why":"full"}' }] });
});

test("a refusal of the protocol is an error that a model reads", async () => {
  await using opened = await openNotes();
  const refused = await opened.answer("result", { content: "none" });
  expect(refused.isError).toBe(true);
  expect(textOf(refused)).toMatch(/^mcp\.server_error: The MCP server notes refused tools\/call \(-32/);
});

test("a newer server's result of a kind that nobody knows is none, and an older one's is as it was", async () => {
  const strange = { resultType: "later", content: [{ type: "text", text: "a" }] };
  await using newer = await openNotes("modern");
  const refused = await newer.answer("result", strange);
  expect(refused.isError).toBe(true);
  expect(textOf(refused)).toMatch(/^mcp\.protocol: The MCP server notes answered tools\/call with a resultType/);
  expect(textOf(await newer.answer("result", { content: strange.content }))).toBe("a");
});

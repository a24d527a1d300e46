import { describe, expect, test } from "vitest";
import { envelope } from "./peer.ts";
import { openTestServer } from "./serve.ts";

/** A server whose grant reads the notes but for the second, and the prompt. */
async function openReader() {
  const server = await openTestServer();
  const uris = Array.from({ length: 250 }, (_, index) => `test://notes/${index + 1}`);
  const values = uris.filter((uri) => uri !== "test://notes/2").concat("test://notes/999");
  const tools = server.rightsTo(["move", "echo"]);
  const grant = server.withRights("reader", { tools, resources: [{ type: "one_of", values }], prompts: ["weather"] });
  return { server, grant, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

describe("resources over MCP", () => {
  test("are listed by pages, only those that may be read, in both eras", async () => {
    await using reader = await openReader();
    const older = reader.server.connect(reader.grant);
    await older.initialize();
    const modern = reader.server.connect(reader.grant);
    const pageOf = async (cursor?: string) => {
      const page = cursor === undefined ? {} : { cursor };
      const { result } = await older.request("resources/list", page);
      const same = await modern.request("resources/list", { ...page, _meta: envelope() });
      expect(same.result).toMatchObject({ resources: result?.["resources"], cacheScope: "private" });
      return result;
    };
    const first = await pageOf();
    expect(first?.["resources"]).toHaveLength(100);
    const uris = JSON.stringify(first?.["resources"]).match(/test:[^"]*/g);
    expect(uris?.slice(0, 2)).toEqual(["test://notes/1", "test://notes/3"]);
    const third = await pageOf("200");
    expect(third?.["resources"]).toHaveLength(49);
    expect(third?.["nextCursor"]).toBeUndefined();
    expect((await older.request("resources/list", { cursor: "1e2" })).error?.code).toBe(-32602);
    expect((await older.request("resources/list", { cursor: "300" })).error?.code).toBe(-32602);
  });

  test("are read where the grant allows it; else they are not there (B17)", async () => {
    await using reader = await openReader();
    const older = reader.server.connect(reader.grant);
    await older.initialize();
    const modern = reader.server.connect(reader.grant);
    const read = (uri: string) => older.request("resources/read", { uri });
    expect((await read("test://notes/1")).result).toEqual({ contents: [{ uri: "test://notes/1", text: "text 1" }] });
    const refused = await Promise.all(["test://notes/2", "test://notes/999", "file:///etc/passwd"].map(read));
    expect(refused.map(({ error }) => error?.code)).toEqual([-32602, -32602, -32602]);
    const newer = await modern.request("resources/read", { uri: "test://notes/2", _meta: envelope() });
    expect(newer.error).toMatchObject({ code: -32602, data: { code: "resource.unknown", uri: "test://notes/2" } });
    const rows = (await reader.server.audit()).map(({ entry }) => `${entry.action} ${entry.name} ${entry.decision}`);
    expect(rows[0]).toBe("resources/read test://notes/1 allow");
    expect(rows).toContain("resources/read test://notes/2 deny");
    expect(rows).toContain("resources/read file:///etc/passwd deny");
  });

  test("mark the connection with where they came from: a sink asks afterwards", async () => {
    await using reader = await openReader();
    const peer = reader.server.connect(reader.grant);
    await peer.initialize();
    expect((await peer.call("move", { from: "a" })).result?.isError).toBeUndefined();
    await peer.request("resources/read", { uri: "test://notes/7" });
    expect(JSON.stringify(await peer.call("move", { from: "b" }))).toContain("permission.approval_needed");
    expect(reader.server.log).toEqual(["moved a to here"]);
  });

  test("may ask before they open", async () => {
    await using reader = await openReader();
    const modern = reader.server.connect(reader.grant);
    const params = { uri: "test://notes/9", _meta: envelope({ elicitation: { form: {} } }) };
    const asked = await modern.request("resources/read", params);
    const answer = { why: { action: "accept", content: { why: "must" } } };
    const retry = { ...params, requestState: asked.result?.requestState, inputResponses: answer };
    const { result } = await modern.request("resources/read", retry);
    expect(result).toMatchObject({ contents: [{ text: JSON.stringify([9, answer]) }] });
    const replayed = await modern.request("resources/read", retry);
    expect(replayed.error?.message).toMatch(/^permission\.approval_refused: .*answered before/);
  });
});

describe("prompts and completion over MCP", () => {
  test("are listed, got and completed where the grant names them", async () => {
    await using reader = await openReader();
    const peer = reader.server.connect(reader.grant);
    await peer.initialize();
    expect((await peer.request("prompts/list")).result).toMatchObject({ prompts: [{ name: "weather" }] });
    const got = await peer.request("prompts/get", { name: "weather", arguments: { city: "Rome" } });
    expect(got.result).toMatchObject({
      messages: [{ role: "user", content: { text: "How is the weather in Rome?" } }],
    });
    const argument = { name: "city", value: "R" };
    const ref = { type: "ref/prompt", name: "weather" };
    const completed = await peer.request("completion/complete", { ref, argument });
    expect(completed.result).toMatchObject({ completion: { values: ["Rome", "Riga"] } });
    const template = { type: "ref/resource", uri: "test://notes/{number}" };
    const numbers = await peer.request("completion/complete", {
      ref: template,
      argument: { name: "number", value: "1" },
    });
    expect(numbers.result).toMatchObject({ completion: { values: ["1", "10", "100"] } });
    const other = { ref: { type: "ref/resource", uri: "test://notes/{other}" }, argument };
    expect((await peer.request("completion/complete", other)).error?.message).toMatch(/^resource\.unknown: /);
  });
});

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../../src/core/json.ts";
import { parseUriRule } from "../../../src/permissions/uri-rule.ts";
import { tempFolder } from "../../support/temp.ts";
import { openBridgedApp, textOf, withSdk } from "./bridged-app.ts";

const offer = {
  tools: [{ name: "update" }, { name: "offer" }, { name: "result" }, { name: "exit" }],
  resources: [
    { uri: "note://a", name: "a note" },
    { uri: "note://missing", name: "one that is gone" },
  ],
  templates: [{ uriTemplate: "note://{colour}", name: "notes by colour" }],
  prompts: [{ name: "ask me", arguments: [{ name: "colour", required: true }] }, { name: "plain" }, { name: "evil" }],
};

/** Two servers that offer the same, the second without a prefix if told so. */
async function openTwo({ more = {}, era = "modern" }: { readonly more?: object; readonly era?: string } = {}) {
  await using opened = new AsyncDisposableStack();
  const folder = async (): Promise<string> => opened.use(await tempFolder()).path;
  const [a, b] = [await folder(), await folder()];
  for (const path of [a, b]) await writeFile(join(path, "offer.json"), JSON.stringify(offer));
  const app = opened.use(await openBridgedApp({ a: withSdk(a, {}, era), b: withSdk(b, more, era) }));
  await app.ready();
  const owned = opened.move();
  return { ...app, folders: { a, b }, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const behind = (uri: string): boolean => /^(?:[ab]\+|note:)/.test(uri);

describe.each(["modern", "legacy"])("resources of servers behind (%s)", (era) => {
  test("are listed, read and completed under URIs that lead to their own server alone", async () => {
    await using two = await openTwo({ era });
    const { door } = two.app;
    const listed = (await door.listResources(two.reading())).filter(({ uri }) => behind(uri));
    expect(listed.map(({ uri }) => uri)).toEqual(["a+note://a", "a+note://missing", "b+note://a", "b+note://missing"]);
    const { outcome, taint } = await door.readResource({ ...two.reading(), uri: "b+note://a" });
    expect(outcome).toMatchObject({
      contents: [{ uri: "b+note://a", mimeType: "text/plain", text: `${two.folders.b} has note://a` }],
    });
    expect(taint).toEqual(["mcp:b"]);
    // One that is not there answers as one that nobody has.
    for (const uri of ["a+note://missing", "note://a", "c+note://a", "a+b+note://missing"]) {
      await expect(door.readResource({ ...two.reading(), uri })).rejects.toMatchObject({ code: "resource.unknown" });
    }
    const templates = (await door.listTemplates(two.reading())).map(({ uriTemplate }) => uriTemplate);
    expect(templates.filter(behind)).toEqual(["a+note://{colour}", "b+note://{colour}"]);
    const completion = { argument: { name: "colour", value: "r" }, filled: {} };
    const of = { uriTemplate: "b+note://{colour}" };
    expect(await door.complete({ ...two.reading(), of, completion })).toEqual(["red", "ref/resource"]);
  });

  test("are subscribed to once for many, as long as somebody listens", async () => {
    await using two = await openTwo({ era });
    const { door } = two.app;
    const heard: string[] = [];
    const subscribe = async (who: string): Promise<AsyncDisposable> =>
      await door.subscribe({ ...two.reading(), uri: "a+note://a" }, () => void heard.push(who));
    const one = await subscribe("one");
    const other = await subscribe("two");
    // An older server is subscribed to by a request, of which it tells here.
    const subscribed = async (): Promise<unknown> =>
      JSON.parse(textOf(await two.call("a__update", { uri: "note://a" })));
    expect(await subscribed()).toEqual(era === "legacy" ? ["note://a"] : []);
    await expect.poll(() => heard.toSorted()).toEqual(["one", "two"]);
    await one[Symbol.asyncDispose]();
    await two.call("a__update", { uri: "note://a" });
    await expect.poll(() => heard.toSorted()).toEqual(["one", "two", "two"]);
    await other[Symbol.asyncDispose]();
    expect(await subscribed()).toEqual([]);
    await two.call("b__update", { uri: "note://a" });
    expect(heard).toHaveLength(3);
  });

  test("are followed again after their server was away, and may have changed", async () => {
    await using two = await openTwo({ era });
    const heard: string[] = [];
    await using watching = new AsyncDisposableStack();
    for (const uri of ["a+note://a", "b+note://a"]) {
      const subscription = await two.app.door.subscribe({ ...two.reading(), uri }, () => void heard.push(uri));
      watching.use(subscription);
    }
    await two.call("a__exit");
    await expect.poll(() => heard).toEqual(["a+note://a"]);
    await expect
      .poll(async () => (await two.call("a__update", { uri: "note://a" })) && heard.length)
      .toBeGreaterThan(1);
    expect(heard).not.toContain("b+note://a");
  });
});

describe("resources and prompts of servers behind", () => {
  test("keep their own URIs and names without a prefix, and lead nowhere else", async () => {
    await using two = await openTwo({ more: { prefix: false } });
    const { door } = two.app;
    const listed = (await door.listResources(two.reading())).map(({ uri }) => uri);
    expect(listed.filter(behind)).toEqual(["a+note://a", "a+note://missing", "note://a", "note://missing"]);
    const { outcome } = await door.readResource({ ...two.reading(), uri: "note://a" });
    expect(outcome).toMatchObject({ contents: [{ uri: "note://a", text: `${two.folders.b} has note://a` }] });
    expect((await door.listPrompts(two.reading())).map(({ name }) => name)).toEqual(
      expect.arrayContaining(["a__plain", "ask me", "plain"]),
    );
    // What it links to is its own, also what looks like Capstan's or another server's.
    const links = ["note://x", "capstan://artifacts/1", "a+note://a"].map((uri) => ({
      type: "resource_link",
      uri,
      name: "l",
    }));
    const result: JsonObject = { content: links };
    expect((await two.call("result", { result })).content).toMatchObject([
      { uri: "note://x" },
      { uri: "b+capstan://artifacts/1" },
      { uri: "b+a+note://a" },
    ]);
  });

  test("that a grant does not reach ask nothing of their server", async () => {
    await using two = await openTwo();
    const { door } = two.app;
    const user = { org: "local", user: "somebody" };
    const reach = (resources: readonly string[], prompts: string[]) => {
      const grant = { ...two.grantAll({ resources: resources.map(parseUriRule), prompts }), principal: user };
      return two.reading({ principal: user, grant });
    };
    // A server starts for each user who asks it something.
    const starts = (server: string): number =>
      two.lines.filter((line) => line.startsWith(`mcp ${server}: stderr: started`)).length;
    const before = [starts("a"), starts("b")];
    const narrow = reach(["b+note://"], ["b__*"]);
    expect((await door.listResources(narrow)).map(({ uri }) => uri)).toEqual(["b+note://a", "b+note://missing"]);
    expect(await door.listTemplates(narrow)).toHaveLength(1);
    expect(await door.listPrompts(narrow)).toHaveLength(3);
    expect((await door.getPrompt({ ...narrow, name: "b__plain", args: {} })).outcome.type).toBe("done");
    expect([starts("a"), starts("b")]).toEqual([before[0], 1 + (before[1] ?? 0)]);
    expect(await door.listPrompts(reach([], ["a__plain"]))).toMatchObject([{ name: "a__plain" }]);
    expect(starts("a")).toBe(1 + (before[0] ?? 0));
  });

  test("are got and completed by the name that their server has for them", async () => {
    await using two = await openTwo();
    const { door } = two.app;
    const prompts = (await door.listPrompts(two.reading())).filter(({ name }) => name.startsWith("b__"));
    expect(prompts).toEqual([
      { name: expect.stringMatching(/^b__ask_me_[0-9a-f]{8}$/), arguments: [{ name: "colour", required: true }] },
      { name: "b__plain", arguments: [] },
      { name: "b__evil", arguments: [] },
    ]);
    const [{ name } = { name: "" }] = prompts;
    const { outcome, taint } = await door.getPrompt({ ...two.reading(), name, args: { colour: "red" } });
    expect(outcome).toMatchObject({
      messages: [
        { role: "user", content: { type: "text", text: '{"name":"ask me","args":{"colour":"red"}}' } },
        { role: "user", content: { type: "resource_link", uri: "b+note://a" } },
      ],
    });
    expect(taint).toEqual(["mcp:b"]);
    const completion = { argument: { name: "colour", value: "g" }, filled: {} };
    expect(await door.complete({ ...two.reading(), of: { prompt: name }, completion })).toEqual([
      "green",
      "ref/prompt",
    ]);
    for (const unknown of ["b__ask me", "ask me", "b__none"]) {
      const request = { ...two.reading(), name: unknown, args: {} };
      await expect(door.getPrompt(request)).rejects.toMatchObject({ code: "prompt.unknown" });
    }
  });

  test("that their server refuses say so in Capstan's words, and in its own in the log", async () => {
    await using two = await openTwo();
    const { door } = two.app;
    const refused = { message: "The MCP server a refused (-32603). What it says stands in Capstan's log." };
    await expect(door.readResource({ ...two.reading(), uri: "a+note://evil" })).rejects.toMatchObject(refused);
    await expect(door.getPrompt({ ...two.reading(), name: "a__evil", args: {} })).rejects.toMatchObject(refused);
    expect(two.lines.filter((line) => line.includes("Ignore what you were told"))).toHaveLength(2);
  });

  test("are listed anew when their server says that they changed", async () => {
    await using two = await openTwo();
    const { door } = two.app;
    const changes: string[] = [];
    using listening = new DisposableStack();
    listening.use(door.onChange((change) => void changes.push(change)));
    const list = async (): Promise<readonly string[]> => [
      ...(await door.listResources(two.reading())).map(({ uri }) => uri),
      ...(await door.listPrompts(two.reading())).map(({ name }) => name),
    ];
    expect(await list()).toContain("a__plain");
    await two.call("a__offer", { offer: { ...offer, resources: [{ uri: "note://new", name: "new" }], prompts: [] } });
    await expect.poll(() => changes).toEqual(expect.arrayContaining(["resources", "prompts"]));
    const after = await list();
    expect(after).toContain("a+note://new");
    expect(after).toContain("b__plain");
    expect(after.filter((name) => name === "a__plain" || name === "a+note://a")).toEqual([]);
  });
});

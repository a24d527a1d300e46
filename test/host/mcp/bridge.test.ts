import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../../src/core/json.ts";
import { run } from "../../../src/run.ts";
import { testTool } from "../../support/door.ts";
import { tempFolder } from "../../support/temp.ts";
import { openBridgedApp, textOf, withSdk } from "./bridged-app.ts";

/** A folder whose server offers this. */
async function offering(offer: JsonObject) {
  const folder = await tempFolder();
  await writeFile(join(folder.path, "offer.json"), JSON.stringify(offer));
  return folder;
}

const named = (...names: readonly string[]) => names.map((name) => ({ name }));

describe("the bridge", () => {
  test.each(["modern", "legacy"])("calls a tool of a %s server through the door", async (era) => {
    await using folder = await tempFolder();
    await using opened = await openBridgedApp({ notes: withSdk(folder.path, {}, era) });
    await opened.ready();
    expect(opened.names()).toEqual(["notes__echo"]);
    const result = await opened.call("notes__echo", { text: "hello" });
    expect(result.isError).toBeUndefined();
    expect(JSON.parse(textOf(result))).toMatchObject({ name: "echo", args: { text: "hello" } });
    expect(opened.faults).toEqual([]);
  });

  test("starts nothing before it is used, and knows the tools of before", async () => {
    await using folder = await offering({ tools: named("echo", "pid") });
    await using home = await tempFolder();
    const servers = { notes: withSdk(folder.path) };
    await using first = await openBridgedApp(servers, { home: home.path });
    expect(first.names()).toEqual([]);
    await first.ready();
    await first[Symbol.asyncDispose]();

    await using second = await openBridgedApp(servers, { home: home.path });
    await second.ready();
    expect(second.names()).toEqual(["notes__echo", "notes__pid"]);
    expect(second.lines).toEqual([]);
    expect(textOf(await second.call("notes__pid"))).toMatch(/^\d+$/);
    expect(second.lines).toEqual([expect.stringMatching(/^mcp notes: stderr: started \d+$/)]);
  });

  test("is ready for a run that a program starts", async () => {
    await using folder = await tempFolder();
    await using opened = await openBridgedApp({ notes: withSdk(folder.path) });
    expect(await run(opened.app, "6*7", { allow: ["notes__echo"] })).toMatchObject({
      status: "done",
      answer: "6*7 = 42",
    });
  });

  test("does not start a server that is not enabled, nor waits for what never ends", async () => {
    await using folder = await tempFolder();
    const hangs = { command: "sleep", args: ["1000"], bubblewrap: "never", startTimeoutMs: 300 };
    await using opened = await openBridgedApp({
      hung: hangs,
      off: withSdk(folder.path, { enabled: false }),
      on: withSdk(folder.path),
    });
    const begun = performance.now();
    await opened.ready();
    expect(performance.now() - begun).toBeLessThan(60_000);
    expect(opened.names()).toEqual(["on__echo"]);
    expect(opened.lines.join("\n")).toMatch(/^mcp hung: .*within 300 ms/m);
    expect(opened.lines.join("\n")).not.toContain("mcp off");
  });

  test("reads lists of many pages, and 500 tools", async () => {
    const property = { type: "string", description: "What it is about" };
    const inputSchema = { type: "object", properties: { one: property, two: property }, required: ["one"] };
    const tools = Array.from({ length: 500 }, (_, index) => ({
      name: `t${index}`,
      description: "One of many",
      inputSchema,
    }));
    await using folder = await offering({ tools, page: 40 });
    await using opened = await openBridgedApp({ many: withSdk(folder.path) });
    await opened.ready();
    expect(opened.names()).toHaveLength(500);
    expect(JSON.parse(textOf(await opened.call("many__t499", { one: "a" })))).toMatchObject({
      name: "t499",
      args: { one: "a" },
    });
    // A schema of the server is checked here.
    await expect(opened.call("many__t499", { two: "a" })).rejects.toThrow("required property 'one'");
  });

  test("tells the toolbox of tools that come and go, and gives none of them to a grant made before", async () => {
    await using folder = await offering({ tools: named("offer") });
    await using opened = await openBridgedApp({ notes: withSdk(folder.path) });
    await opened.ready();
    const changes: string[] = [];
    using listening = new DisposableStack();
    listening.use(opened.app.door.onChange((change) => void changes.push(change)));
    const { toolbox } = opened.app;
    const before = opened.toCaller({ grant: opened.grantAll() });

    await opened.call("notes__offer", { offer: { tools: named("offer", "late") } });
    await expect.poll(() => toolbox.find("notes__late")).toBeDefined();
    expect(changes).toContain("tools");
    await expect(opened.call("notes__late", {}, { caller: before })).rejects.toMatchObject({ code: "tool.unknown" });
    expect((await opened.call("notes__late")).isError).toBeUndefined();

    await opened.call("notes__offer", { offer: { tools: named("offer") } });
    await expect.poll(() => toolbox.find("notes__late")).toBeUndefined();
    await expect(opened.call("notes__late")).rejects.toMatchObject({ code: "tool.unknown" });
  });

  test("is a tool among others for whoever finds tools, and marks what it answers", async () => {
    await using folder = await offering({
      tools: [{ name: "echo", title: "Says it again", description: "Repeats words" }],
    });
    await using opened = await openBridgedApp({ notes: withSdk(folder.path) });
    await opened.ready();
    const found = await opened.call("search_tools", { query: "repeats words" });
    expect(JSON.stringify(found.structuredContent)).toContain("notes__echo");
    const { app, toCaller } = opened;
    const request = { caller: toCaller(), args: {}, callId: "call_taint", signal: AbortSignal.timeout(110_000) };
    const { taint } = await app.door.call({ ...request, name: "notes__echo" });
    expect(taint).toEqual(["mcp:notes"]);
    // What came in holds the next sink back: so does every tool of which the operator has said nothing.
    const tainted = toCaller({ taint });
    await expect(opened.call("notes__echo", {}, { caller: tainted })).rejects.toMatchObject({
      code: "permission.approval_needed",
    });
  });
});

describe("names through the bridge", () => {
  test("without a prefix are the server's own, and give way to whoever has them", async () => {
    await using a = await offering({ tools: named("calculator", "echo", "with__x", "mine", "has space") });
    await using b = await offering({ tools: named("echo", "other") });
    await using c = await offering({ tools: named("x") });
    await using opened = await openBridgedApp(
      {
        one: withSdk(a.path, { prefix: false }),
        two: withSdk(b.path, { prefix: false }),
        with: withSdk(c.path),
      },
      { tools: [testTool("mine")] },
    );
    await opened.ready();
    expect(opened.names()).toEqual(["echo", expect.stringMatching(/^one__has_space_[0-9a-f]{8}$/), "other", "with__x"]);
    const said = opened.lines.filter((line) => line.includes("left out")).sort();
    expect(said).toEqual([
      "mcp one: the tool calculator is left out: its name calculator is one of Capstan",
      "mcp one: the tool mine is left out: its name mine is one of Capstan",
      "mcp one: the tool with__x is left out: its name with__x is one of with",
      "mcp two: the tool echo is left out: its name echo is one of mcp:one",
    ]);
    expect(opened.app.toolbox.find("echo")?.source).toBe("mcp:one");
    expect(JSON.parse(textOf(await opened.call("echo", { from: "one" })))).toMatchObject({
      name: "echo",
      folder: a.path,
    });
    expect((await opened.call("calculator", { expression: "6*7" })).structuredContent).toMatchObject({ result: "42" });
  });

  test("without a prefix lead no grant from one server to another of the same name and definition", async () => {
    await using a = await tempFolder();
    await using b = await offering({ tools: named("echo") });
    await writeFile(join(a.path, "broken"), "");
    await using opened = await openBridgedApp({
      one: withSdk(a.path, { prefix: false }),
      two: withSdk(b.path, { prefix: false }),
    });
    await opened.ready();
    const caller = opened.toCaller({ grant: opened.grantAll() });
    expect(JSON.parse(textOf(await opened.call("echo", {}, { caller })))).toMatchObject({ folder: b.path });
    await rm(join(a.path, "broken"));
    await expect.poll(() => opened.app.toolbox.find("echo")?.source).toBe("mcp:one");
    await expect(opened.call("echo", {}, { caller })).rejects.toMatchObject({ code: "tool.unknown" });
    expect(JSON.parse(textOf(await opened.call("echo")))).toMatchObject({ folder: a.path });
  });

  test("never shadow a server that is away, whose names begin so", async () => {
    await using a = await offering({ tools: named("gone__send", "echo") });
    await using opened = await openBridgedApp({
      bare: withSdk(a.path, { prefix: false }),
      gone: { command: "/no/such/program", bubblewrap: "never" },
    });
    await opened.ready();
    expect(opened.names()).toEqual(["echo"]);
    expect(opened.lines.join("\n")).toContain("mcp gone: ");
  });

  test("of a tool whose schema is none, or leads elsewhere, are left out", async () => {
    await using folder = await offering({
      tools: [
        { name: "good" },
        { name: "typeless", inputSchema: { type: "object", properties: { a: { type: "objekt" } } } },
        { name: "remote", inputSchema: { type: "object", properties: { a: { $ref: "http://127.0.0.1:1/s.json" } } } },
        { name: "output", outputSchema: { type: "object", required: "all" } },
      ],
    });
    await using opened = await openBridgedApp({ notes: withSdk(folder.path) });
    await opened.ready();
    expect(opened.names()).toEqual(["notes__good"]);
    expect(opened.lines.filter((line) => line.includes("no JSON Schema"))).toHaveLength(3);
  });
});

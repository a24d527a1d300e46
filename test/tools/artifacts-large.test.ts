import { afterAll, describe, expect, test } from "vitest";
import { toCallResult } from "../../src/server/mcp/result.ts";
import type { Block } from "../../src/core/event.ts";
import { localPrincipal, localScope } from "../../src/core/scope.ts";
import type { Grant } from "../../src/permissions/grant.ts";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { artifactResources } from "../../src/tools/artifact-resources.ts";
import { executeCodeTool } from "../../src/tools/execute-code.ts";
import type { Keeping } from "../../src/tools/large-result.ts";
import { toLinked } from "../../src/tools/large-result.ts";
import type { ReadOutcome } from "../../src/tools/resource.ts";
import type { Outcome, Tool } from "../../src/tools/tool.ts";
import { testLimits } from "../sandbox/hostile.ts";
import { openTestArtifacts } from "../support/artifacts.ts";
import { openTestDoor, testTool, toGrant } from "../support/door.ts";

type Done = Extract<Outcome, { type: "done" }>;

const engine = openQuickjsEngine();
afterAll(() => engine[Symbol.asyncDispose]());

const withResources = (grant: Grant): Grant => ({
  ...grant,
  rights: { ...grant.rights, resources: [{ type: "any" }] },
});
const owner = { scope: localScope, principal: localPrincipal, grant: withResources(toGrant([], 0, 0)) };
const maxBytes = 20_000;

/** Links a result over real artifacts, and reads what it links to as an MCP client would. */
async function openLinked(over: Partial<Keeping> = {}) {
  const opened = await openTestArtifacts();
  const source = artifactResources(opened.artifacts);
  const keeping: Keeping = {
    artifacts: opened.artifacts,
    owner,
    callId: "c",
    name: "dump",
    taint: ["mcp:big"],
    maxTextBytes: maxBytes,
    tool: undefined,
    ...over,
  };
  const context = {
    ...owner,
    signal: AbortSignal.timeout(110_000),
    callId: "r",
    taint: [],
    progress: () => {},
    log: () => {},
  };
  return {
    ...opened,
    link: (outcome: Omit<Done, "type">) => toLinked({ type: "done", ...outcome }, keeping),
    read: (uri: string): Promise<ReadOutcome> => source.read(uri, context),
    list: () => source.list(context),
  };
}

const linksOf = ({ content = [] }: Done) => content.filter((block) => block.type === "resource_link");
const textOf = ({ content: [first] = [] }: Done): string => (first?.type === "text" ? first.text : "");
const partOf = (outcome: ReadOutcome) => {
  if (outcome?.type !== "done") throw new Error("nothing was read");
  const [part] = outcome.contents;
  return part !== undefined && "text" in part ? part.text : Buffer.from(part?.blob ?? "", "base64");
};

describe("toLinked()", () => {
  test("leaves what fits as it is", async () => {
    await using linked = await openLinked();
    const outcome: Done = { type: "done", value: { a: "x".repeat(9_000) }, taint: ["files"] };
    expect(
      await toLinked(outcome, {
        ...owner,
        artifacts: linked.artifacts,
        owner,
        callId: "c",
        name: "n",
        taint: [],
        maxTextBytes: maxBytes,
        tool: { outputSchema: {} },
      }),
    ).toBe(outcome);
    expect(await linked.list()).toEqual([]);
  });

  test("gives a large text as a link to the whole, with its beginning, and no error", async () => {
    await using linked = await openLinked();
    const text = "größe ".repeat(10_000);
    const outcome = await linked.link({ content: [{ type: "text", text }], taint: ["mcp:big"] });
    expect(outcome).not.toHaveProperty("isError");
    expect(outcome.taint).toEqual(["mcp:big"]);
    const [link] = linksOf(outcome);
    expect(link).toMatchObject({ mimeType: "text/plain", bytes: Buffer.byteLength(text) });
    expect(textOf(outcome)).toContain(`It begins:\n${text.slice(0, 2_000)}…`);
    expect(textOf(outcome)).toContain(link?.uri);
    expect(textOf(outcome)).toContain("don't repeat it");
    const read = await linked.read(link?.uri ?? "");
    expect(partOf(read)).toBe(text);
    expect(read).toMatchObject({ taint: ["mcp:big"] });
    expect(JSON.stringify(toCallResult(outcome)).length).toBeLessThan(maxBytes);
  });

  test("keeps what has room beside what has not: a small value beside a large picture", async () => {
    await using linked = await openLinked({ tool: { outputSchema: {} } });
    const picture = Buffer.alloc(3_300_000, 7);
    const small: Block = { type: "image", mimeType: "image/png", data: Buffer.alloc(300).toString("base64") };
    const large: Block = { type: "image", mimeType: "image/jpeg", data: picture.toString("base64") };
    const outcome = await linked.link({ value: { n: 1 }, content: [large, small] });
    expect(outcome).toMatchObject({ value: { n: 1 } });
    expect(outcome).not.toHaveProperty("isError");
    expect(outcome.content).toContainEqual(small);
    expect(linksOf(outcome)).toMatchObject([{ mimeType: "image/jpeg", bytes: 3_300_000 }]);
    expect(partOf(await linked.read(linksOf(outcome)[0]?.uri ?? ""))).toEqual(picture.subarray(0, 1024 * 1024));
  });

  test("leaves a picture where it is, beside a text that is too large", async () => {
    await using linked = await openLinked();
    const picture: Block = { type: "image", mimeType: "image/png", data: Buffer.alloc(1_000_000).toString("base64") };
    const alone = await linked.link({ content: [picture] });
    expect(alone.content).toEqual([picture]);
    const outcome = await linked.link({ content: [{ type: "text", text: "x".repeat(50_000) }, picture] });
    expect(outcome.content).toContainEqual(picture);
    expect(linksOf(outcome)).toMatchObject([{ mimeType: "text/plain", bytes: 50_000 }]);
  });

  test("is an error where a value is left out that clients have a schema for, and none where they have none", async () => {
    const value = { rows: Array.from({ length: 5_000 }, (_, n) => n) };
    for (const hasSchema of [true, false]) {
      await using linked = await openLinked(hasSchema ? { tool: { outputSchema: {} } } : {});
      const outcome = await linked.link({ value });
      expect(outcome).not.toHaveProperty("value");
      const [link] = linksOf(outcome);
      expect(JSON.parse(String(partOf(await linked.read(link?.uri ?? ""))))).toEqual(value);
      expect([outcome.isError, outcome.code]).toEqual(hasSchema ? [true, "tool.too_large"] : [undefined, undefined]);
      expect(textOf(outcome).startsWith("tool.too_large: The call was carried out; don't repeat it.")).toBe(hasSchema);
    }
  });

  test("leaves a failure one, with its code", async () => {
    await using linked = await openLinked();
    const text = `tool.failed: ${"x".repeat(50_000)}`;
    const outcome = await linked.link({ isError: true, code: "tool.failed", content: [{ type: "text", text }] });
    expect(outcome).toMatchObject({ isError: true, code: "tool.failed" });
    expect(textOf(outcome)).toContain("The call failed.");
  });

  test("keeps every kind of block, and many together", async () => {
    await using linked = await openLinked();
    const blob = Buffer.alloc(20_000, 1).toString("base64");
    const content: Block[] = [
      { type: "resource", uri: "x:1", text: "y".repeat(20_000) },
      { type: "resource", uri: "x:2", mimeType: "application/x-y", blob },
      { type: "audio", mimeType: "audio/wav", data: Buffer.alloc(3_300_000).toString("base64") },
      { type: "resource_link", uri: "x:3", name: "n".repeat(20_000) },
      ...Array.from({ length: 30 }, (): Block => ({ type: "text", text: "z".repeat(10_001) })),
    ];
    const outcome = await linked.link({ content });
    const links = linksOf(outcome);
    expect(links).toHaveLength(16);
    expect(links.slice(0, 4).map(({ mimeType }) => mimeType)).toEqual([
      "text/plain",
      "application/x-y",
      "audio/wav",
      "application/json",
    ]);
    expect(JSON.parse(String(partOf(await linked.read(links.at(-1)?.uri ?? ""))))).toEqual(content.slice(15));
    expect(JSON.stringify(toCallResult(outcome)).length).toBeLessThan(maxBytes);
  });

  test("says so where the caller may not read what is kept", async () => {
    const grant = toGrant([], 0, 0);
    await using linked = await openLinked({ owner: { ...owner, grant } });
    const outcome = await linked.link({ content: [{ type: "text", text: "x".repeat(50_000) }] });
    expect(textOf(outcome)).toContain("This grant may not read it");
  });

  test("says that the call was carried out where nothing more can be kept", async () => {
    await using opened = await openTestArtifacts({ limits: { lifetimeMs: 1_000, count: 1, bytes: 10 } });
    await using linked = await openLinked({ artifacts: opened.artifacts });
    await expect(linked.link({ content: [{ type: "text", text: "x".repeat(50_000) }] })).rejects.toMatchObject({
      code: "tool.too_large",
      message: expect.stringContaining(
        "dump was carried out, but its result is too large to answer. 50000 bytes can't be kept",
      ),
    });
  });
});

describe("a large artifact", () => {
  test("is read in parts, which are whole characters and together the whole", async () => {
    await using linked = await openLinked();
    const text = `a${"€".repeat(1_000_000)}`;
    const outcome = await linked.link({ content: [{ type: "text", text }] });
    const [{ uri, description } = { uri: "", description: "" }] = linksOf(outcome);
    expect(description).toBe(`Read it in 3 parts: ${uri}/1 to ${uri}/3.`);
    expect(textOf(outcome)).toContain(`Read it in 3 parts: ${uri}/1 to ${uri}/3`);
    const first = await linked.read(uri);
    expect(first).toMatchObject({ contents: [{ uri: `${uri}/1` }] });
    const parts = await Promise.all([1, 2, 3].map((number) => linked.read(`${uri}/${number}`)));
    expect(parts[0]).toEqual(first);
    expect(parts.map(partOf).join("")).toBe(text);
    for (const none of ["4", "0", "01", "1/1", "-1", "", "1e0"]) expect(await linked.read(`${uri}/${none}`)).toBeNull();
  });

  test("that is binary comes back byte for byte", async () => {
    await using linked = await openLinked();
    const bytes = Buffer.from(Array.from({ length: 1_500_000 }, (_, n) => (n * 7) % 256));
    const part = { type: "resource" as const, uri: "x:1", blob: bytes.toString("base64") };
    const [link] = linksOf(await linked.link({ content: [part] }));
    const parts = await Promise.all([1, 2].map((number) => linked.read(`${link?.uri}/${number}`)));
    expect(Buffer.concat(parts.map((content) => Buffer.from(partOf(content))))).toEqual(bytes);
  });
});

describe("what code makes", () => {
  async function openCode(others: readonly Tool[] = []) {
    await using opened = new AsyncDisposableStack();
    const { artifacts, sessions } = opened.use(await openTestArtifacts());
    const tools: Tool[] = [...others];
    tools.push(executeCodeTool({ engines: [engine], limits: testLimits, listed: () => tools, artifacts, sessions }));
    const capstan = opened.use(await openTestDoor(tools, undefined, { resources: [artifactResources(artifacts)] }));
    const owned = opened.move();
    const run = async (code: string, grant: Grant) => {
      const { outcome } = await capstan.call("execute_code", { language: "javascript", code }, { by: { grant } });
      if (outcome.type !== "done") throw new Error("asks");
      return outcome;
    };
    const read = async (uri: string) => {
      const caller = {
        principal: localPrincipal,
        scope: localScope,
        grant: withResources(capstan.grant),
        taint: [],
        depth: 0,
      };
      const signal = AbortSignal.timeout(110_000);
      return await capstan.door.readResource({ caller, callId: `call_${Math.random()}`, signal, uri });
    };
    return { ...capstan, run, read, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  }
  const png = "new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])";

  test("is linked, small files and pictures stand in the answer too, large ones behind the link alone", async () => {
    await using capstan = await openCode();
    const code = `files.write("a.txt", "small"); files.write("p.png", ${png}); files.write("big.txt", "x".repeat(100000)); 1`;
    const outcome = await capstan.run(code, withResources(capstan.grant));
    const [big, ...small] = linksOf(outcome).toSorted((a, b) => (b.bytes ?? 0) - (a.bytes ?? 0));
    expect(small).toMatchObject([
      { name: "p.png", mimeType: "image/png", bytes: 8 },
      { name: "a.txt", mimeType: "text/plain", bytes: 5 },
    ]);
    expect(outcome.content).toContainEqual({ type: "image", mimeType: "image/png", data: "iVBORw0KGgo=" });
    expect(outcome.value).toMatchObject({
      artifacts: expect.arrayContaining([
        { path: "a.txt", bytes: 5, mimeType: "text/plain", uri: small[1]?.uri, text: "small" },
        { path: "big.txt", bytes: 100_000, mimeType: "text/plain", uri: big?.uri },
      ]),
    });
    const { outcome: read } = await capstan.read(big?.uri ?? "");
    expect(partOf(read)).toBe("x".repeat(100_000));
  });

  test("stands in the answer whole for whoever may not read resources", async () => {
    await using capstan = await openCode();
    const outcome = await capstan.run('files.write("big.txt", "x".repeat(100000)); 1', capstan.grant);
    expect(linksOf(outcome)).toEqual([]);
    expect(outcome.value).toMatchObject({ artifacts: [{ path: "big.txt", text: "x".repeat(100_000) }] });
    expect(outcome.value).not.toHaveProperty("resultNote");
  });

  test("stands in no answer that would be too large for clients, which says so", async () => {
    await using capstan = await openCode();
    const code = 'files.write("huge.txt", "x".repeat(600000)); files.write("small.txt", "y"); 1';
    const { value } = await capstan.run(code, capstan.grant);
    const resultNote =
      "there is no room here for 1 of the files; reading them by their uri takes a right to capstan://artifacts/";
    expect(value).toMatchObject({ artifacts: [{ path: "huge.txt", bytes: 600_000 }, { text: "y" }], resultNote });
    expect(JSON.stringify(value).length).toBeLessThan(5_000);
    expect(await capstan.run(code, withResources(capstan.grant))).not.toHaveProperty("value.resultNote");
  });

  test("has the type that its bytes tell, and for text the one that its name tells", async () => {
    await using capstan = await openCode();
    const written: readonly (readonly [path: string, code: string, type: string])[] = [
      ["table.CSV", '"a,b"', "text/csv"],
      ["data.json", '"{}"', "application/json"],
      ["page.csv", '"<!doctype html><script>"', "text/html"],
      ["picture.json", png, "image/png"],
      ["notes.constructor", '"x"', "text/plain"],
      ["chart.svg", "'<svg xmlns=\"http://www.w3.org/2000/svg\"/>'", "image/svg+xml"],
    ];
    const code = written.map(([path, data]) => `files.write("${path}", ${data});`).join("\n");
    const links = linksOf(await capstan.run(code, withResources(capstan.grant)));
    expect(links.map(({ name, mimeType }) => [name, mimeType])).toEqual(written.map(([path, , type]) => [path, type]));
  });

  test("carries what the code's calls brought in, through every level of them", async () => {
    const dirty = testTool("fetch_page", {
      run: async () => ({ type: "done", value: { text: "planted" }, taint: ["mcp:web"] }),
    });
    await using capstan = await openCode([dirty]);
    const inner = "await tools.fetch_page({}); 1";
    const outer = `await tools.execute_code({ language: "javascript", code: ${JSON.stringify(inner)} }); files.write("f", "x"); 1`;
    for (const code of [`files.write("f", (await tools.fetch_page({})).text); 1`, outer]) {
      const outcome = await capstan.run(code, withResources(capstan.grant));
      expect(outcome.taint).toEqual(["mcp:web"]);
      expect((await capstan.read(linksOf(outcome)[0]?.uri ?? "")).taint).toEqual(["mcp:web"]);
    }
    const clean = await capstan.run('files.write("f", "x"); 1', withResources(capstan.grant));
    expect((await capstan.read(linksOf(clean)[0]?.uri ?? "")).taint).toEqual([]);
  });
});

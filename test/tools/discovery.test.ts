import { array, assert, constantFrom, property, string, subarray } from "fast-check";
import { countTokens } from "gpt-tokenizer/encoding/o200k_base";
import { afterAll, describe, expect, test } from "vitest";
import { openEngines } from "../../src/sandbox/all.ts";
import { SandboxConfig } from "../../src/sandbox/config.ts";
import { mergeTaint } from "../../src/core/taint.ts";
import { instructions } from "../../src/server/mcp/offer.ts";
import { toOffered } from "../../src/server/mcp/offering.ts";
import { toWireTool } from "../../src/server/mcp/wire-tool.ts";
import { describeToolTool } from "../../src/tools/describe-tool.ts";
import { executeCodeTool } from "../../src/tools/execute-code.ts";
import { searchToolsTool } from "../../src/tools/search-tools.ts";
import { rankTools } from "../../src/tools/discovery/rank.ts";
import { entrySet } from "../../src/tools/discovery/search.ts";
import type { Tool } from "../../src/tools/tool.ts";
import { testLimits } from "../sandbox/hostile.ts";
import { openTestArtifacts } from "../support/artifacts.ts";
import { callTool } from "../support/call-context.ts";
import { plainCases } from "../support/cases.ts";
import { openTestDoor, testTool, toGrant, valueOf } from "../support/door.ts";
import { fiveHundred, serverTool, wanted } from "./discovery-tools.ts";

const listed = (): readonly Tool[] => [];
const finders = [describeToolTool({ listed }), searchToolsTool({ listed })];
const kept = await openTestArtifacts();
afterAll(() => kept[Symbol.asyncDispose]());
const { artifacts, sessions } = kept;
// Every engine that there is, none of which is started: the tool tells of each.
const engines = openEngines({ cacheDir: "", config: SandboxConfig.parse({}) }).map((engine) => ({
  ...engine,
  isInstalled: () => true,
}));
const entries = [...finders, executeCodeTool({ engines, limits: testLimits, listed, artifacts, sessions })];
const search = { discovery: "search", discoveryTokens: 0 } as const;
const namesOf = (tools: readonly Tool[]): readonly string[] => tools.map(({ name }) => name);
const find = (query: string, tools: readonly Tool[] = fiveHundred): readonly string[] =>
  namesOf(rankTools(tools, query, 3));

describe("rankTools()", () => {
  test.each(wanted)("finds for %j among the first three %s", (query, name) => {
    expect(find(query)).toContain(name);
  });

  test("puts the tool of exactly that name first, in whatever case", () => {
    const tools = [
      ...fiveHundred,
      testTool("issue"),
      testTool("issue_issue_issue", { description: "issue ".repeat(50) }),
    ];
    expect(find("Issue", tools)[0]).toBe("issue");
    expect(find(" github__DELETE_issue ")[0]).toBe("github__delete_issue");
  });

  test("finds camelCase, endings, arguments and beginnings, and equals in the order of their names", () => {
    const tools = ["listOpenHTTPConnections", "b_translate", "a_translate", "repository_info"].map((name) =>
      testTool(name, { description: "" }),
    );
    expect(find("http connection", tools)).toEqual(["listOpenHTTPConnections"]);
    expect(find("translation", tools)).toEqual(["a_translate", "b_translate"]);
    expect(find("translating", tools.toReversed())).toEqual(["a_translate", "b_translate"]);
    expect(find("repo", tools)).toEqual(["repository_info"]);
    expect(find("text", tools)).toHaveLength(3);
    expect(find("in the of", tools)).toEqual([]);
    expect(find("翻訳", [testTool("x", { description: "文章を翻訳する" }), ...tools])).toEqual(["x"]);
  });

  test("answers tools of the list, each once and in one order, whatever is asked", () => {
    const pool = fiveHundred.slice(0, 60);
    assert(
      property(
        subarray(pool),
        array(constantFrom("issue", "list", "of", "github", "✓", "")),
        string(),
        (tools, words, text) => {
          const query = `${words.join(" ")} ${text}`;
          const found = rankTools(tools, query, 10);
          expect(new Set(found).size).toBe(found.length);
          expect(found.every((tool) => tools.includes(tool))).toBe(true);
          expect(rankTools(tools.toReversed(), query, 10)).toEqual(found);
        },
      ),
      { numRuns: plainCases / 10 },
    );
  });

  test("stays quick for 2,000 tools with descriptions of 100 kB", () => {
    const huge = Array.from({ length: 2_000 }, (_, index) =>
      serverTool("s", `tool_${index}`, `${"aed".repeat(2_000)} ${"ing ed ".repeat(13_000)}`),
    );
    const started = performance.now();
    expect(find("xyzzy", huge)).toHaveLength(0);
    expect(find("tool 77", huge)).toContain("s__tool_77");
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});

describe("search_tools", () => {
  test("answers name, first sentence and arguments, and calls by that name go through though it was not listed", async () => {
    const tools: Tool[] = [
      testTool("rot13", { description: "Turns letters by 13.  Twice\n gives the text back. More." }),
    ];
    tools.push(searchToolsTool({ listed: () => tools }));
    await using capstan = await openTestDoor(tools);
    const { outcome, taint } = await capstan.call("search_tools", { query: "letters" });
    expect(valueOf(outcome)).toEqual({
      tools: [{ name: "rot13", description: "Turns letters by 13.", arguments: ["text"] }],
    });
    expect(taint).toEqual([]);
    expect(valueOf((await capstan.call("rot13", { text: "a" })).outcome)).toEqual({ text: "a" });
  });

  test("marks the words of other servers no more than a list does, so that what it found is called unasked", async () => {
    const send = serverTool("mail", "send_letter", "Sends a letter.");
    const read = testTool("read_mail", { run: async () => ({ type: "done", value: {}, taint: ["mcp:mail"] }) });
    const tools = [send, read];
    tools.push(searchToolsTool({ listed: () => tools }), describeToolTool({ listed: () => tools }));
    await using capstan = await openTestDoor(tools);
    const found = await capstan.call("search_tools", { query: "letter" });
    expect(JSON.stringify(found.outcome)).toContain(send.name);
    const described = await capstan.call("describe_tool", { name: send.name });
    const seen = mergeTaint(found.taint, described.taint);
    expect(valueOf((await capstan.call(send.name, {}, { by: { taint: seen } })).outcome)).toEqual({
      name: "send_letter",
    });
    // What a server answers is another matter.
    const { taint } = await capstan.call("read_mail");
    await expect(capstan.call(send.name, {}, { by: { taint } })).rejects.toMatchObject({
      code: "permission.approval_needed",
    });
  });

  test("stays small, whatever a server says of its tools", async () => {
    const name = "x".repeat(64);
    const properties = Object.fromEntries(
      Array.from({ length: 500 }, (_, index) => [`${index}${"y".repeat(500)}`, {}]),
    );
    const tools = Array.from({ length: 30 }, (_, index) => ({
      ...serverTool("s", `t${index}`, `letter ${"\n*/ ".repeat(50_000)}`),
      name: `${index}${name}`,
      inputSchema: { type: "object", properties },
    }));
    const { value } = await callTool(searchToolsTool({ listed: () => tools }), { query: "letter", limit: 20 });
    expect(value).toHaveProperty("tools.length", 20);
    expect(JSON.stringify(value).length).toBeLessThan(20 * 1_600);
  });

  test("answers the same, to the order, whether tools that the grant does not list exist or not", async () => {
    const shown = fiveHundred.filter((_, index) => index % 5 === 0);
    const withAll: Tool[] = [...fiveHundred];
    const withShown: Tool[] = [...shown];
    const doors = await Promise.all(
      [withAll, withShown].map(async (tools) => {
        const door: { list?: (grant: Parameters<typeof openSearch>[0]) => readonly Tool[] } = {};
        const openSearch = (grant: ReturnType<typeof toGrant>): readonly Tool[] => door.list?.(grant) ?? [];
        tools.push(searchToolsTool({ listed: openSearch }), describeToolTool({ listed: openSearch }));
        const opened = await openTestDoor(tools);
        door.list = (grant) => opened.door.list(grant);
        return opened;
      }),
    );
    try {
      const hidden = fiveHundred.find((tool) => !shown.includes(tool))?.name ?? "";
      const asked: readonly (readonly [string, object])[] = [
        ...["issue", "delete a pod", hidden, "list", "email"].map(
          (query) => ["search_tools", { query, limit: 20 }] as const,
        ),
        ["describe_tool", { name: hidden }],
      ];
      for (const [name, args] of asked) {
        const answers = await Promise.all(
          doors.map(async (opened) => {
            const tools = [...shown, ...finders];
            const grant = toGrant(tools, opened.permissions.now(), opened.grant.epoch);
            const { outcome, taint } = await opened.call(name, args, { by: { grant } });
            return { outcome, taint };
          }),
        );
        expect(answers[0]).toEqual(answers[1]);
        expect(JSON.stringify(answers)).not.toContain(`"name":"${hidden}"`);
      }
      // The lawful neighbour: whoever is granted the tool finds it.
      const all = await doors[0]?.call("search_tools", { query: hidden });
      expect(JSON.stringify(all?.outcome)).toContain(`"name":"${hidden}"`);
    } finally {
      await Promise.all(doors.map((opened) => opened[Symbol.asyncDispose]()));
    }
  });
});

describe("entrySet()", () => {
  test("costs a client of 500 tools at most 1,500 tokens, and of what is listed nothing depends on the 500", () => {
    const shown = entrySet([...fiveHundred, ...entries].toSorted(byName), search);
    expect(namesOf(shown)).toEqual(["describe_tool", "execute_code", "search_tools"]);
    const offered = toOffered([...fiveHundred, ...entries].toSorted(byName), { ...search, artifacts, resultBytes: 0 });
    expect(offered.map(({ name }) => name)).toEqual(["call_tool", ...namesOf(shown)]);
    expect(countTokens(instructions + JSON.stringify({ tools: offered }))).toBeLessThan(1_500);
    expect(countTokens(JSON.stringify(fiveHundred.map(toWireTool)))).toBeGreaterThan(50_000);
  });

  test("lists all where that is asked for, or where all is small enough, and searches else", () => {
    const all = [...fiveHundred.slice(0, 20), ...entries];
    const chars = JSON.stringify(all.map(toWireTool)).length;
    expect(entrySet(all, { discovery: "all", discoveryTokens: 0 })).toBe(all);
    expect(entrySet(all, { discovery: "auto", discoveryTokens: Math.ceil(chars / 4) })).toBe(all);
    expect(entrySet(all, { discovery: "auto", discoveryTokens: Math.floor((chars / 4) * 0.95) })).toHaveLength(3);
    expect(entrySet(all, { discovery: "search", discoveryTokens: 1e9 })).toHaveLength(3);
  });

  test("hides nothing from a grant that lacks a finder, and takes no other server's tool for one", () => {
    const posing = (name: string): Tool => ({ ...serverTool("x", "y", "z"), name });
    const without = [...fiveHundred, ...finders.slice(1)];
    expect(entrySet(without, search)).toBe(without);
    const posed = [...without, posing("describe_tool")];
    expect(entrySet(posed, search)).toBe(posed);
    const both = [...fiveHundred, ...finders, posing("execute_code")];
    expect(namesOf(entrySet(both, search))).toEqual(["describe_tool", "search_tools"]);
  });
});

const byName = (a: Tool, b: Tool): number => (a.name < b.name ? -1 : 1);

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson } from "../../src/core/json.ts";
import { localPrincipal, localScope } from "../../src/core/scope.ts";
import { demand, findRight } from "../../src/permissions/demand.ts";
import { derive } from "../../src/permissions/derive.ts";
import { describeGrant, summarizeGrant } from "../../src/permissions/describe.ts";
import type { Need } from "../../src/permissions/grant.ts";
import { Grant } from "../../src/permissions/grant.ts";
import type { NarrowOptions, ToolName } from "../../src/permissions/narrow.ts";
import { narrow, nothing } from "../../src/permissions/narrow.ts";
import type { OperatorOptions } from "../../src/permissions/operator.ts";
import { operatorGrant, rootGrant } from "../../src/permissions/operator.ts";
import { toRunGrant } from "../../src/permissions/run-grant.ts";
import { pureCases } from "../support/cases.ts";
import { grant, patience } from "./arbitraries.ts";
import { codeOf, minute, right, root, rule, start, t1, t2 } from "./grants.ts";

const builtin = (name: string, ...argumentNames: string[]): ToolName => ({ name, pin: "builtin", argumentNames });
const tools: readonly ToolName[] = [
  builtin("calculator", "expression"),
  builtin("execute_code", "language", "code", "files", "timeoutMs"),
  builtin("fs_list", "path"),
  builtin("fs_stat", "paths"),
  { name: "github__send", pin: "abc", argumentNames: ["to"] },
  builtin("kg_search", "query", "graph"),
  { name: "kg_open", pin: "evil", argumentNames: ["graph"] },
  builtin("run_agent", "task"),
  builtin("todo_add", "text"),
  builtin("web_search", "query"),
];
const maker = { id: "root", now: start, principal: localPrincipal, scope: localScope, epoch: 0 };
const everything = rootGrant(maker, tools);
const names = (of: Grant): string[] => of.rights.tools.map(({ name }) => name);
const call = (of: Grant, name: string, args: Record<string, unknown>): string =>
  codeOf(() => demand(of, [{ type: "tool", name, pin: "builtin", args }], start));
const check = (of: Grant, need: Need): string => codeOf(() => demand(of, [need], start));

function make(options: NarrowOptions, parent = everything): Grant {
  return derive(parent, narrow(parent, options, tools, start), { id: "made", now: start });
}

describe("operatorGrant()", () => {
  const operator = (over: Partial<OperatorOptions> = {}): Grant =>
    operatorGrant({ ...maker, read: [], write: [], allow: [], ...over }, tools);

  test("holds code, the default graph, todos and the calculator, and no folder, host or outside tool", () => {
    const grantOf = operator();
    expect(names(grantOf)).toEqual(["calculator", "execute_code", "fs_list", "fs_stat", "kg_search", "todo_add"]);
    expect(grantOf.rights).toMatchObject({ read: [], write: [], net: [] });
    expect(call(grantOf, "kg_search", { query: "x" })).toBe("allow");
    expect(call(grantOf, "kg_search", { query: "x", graph: "default" })).toBe("allow");
    expect(call(grantOf, "kg_search", { query: "x", graph: "other" })).toBe("permission.argument_refused");
    expect(call(grantOf, "fs_list", {})).toBe("allow");
    expect(check(grantOf, { type: "read", path: "/etc/passwd" })).toBe("permission.argument_refused");
    expect(names(grantOf)).not.toContain("kg_open");
  });

  test("holds what the operator names beside it", () => {
    const grantOf = operator({
      read: ["/srv//p/"],
      write: ["/srv/out"],
      allow: ["run_agent", "github__*", "kg_search"],
    });
    expect(names(grantOf)).toContain("run_agent");
    expect(names(grantOf)).not.toContain("web_search");
    expect(findRight(grantOf, "github__send", "abc")).not.toBeNull();
    expect(call(grantOf, "kg_search", { query: "x", graph: "other" })).toBe("allow");
    expect(check(grantOf, { type: "read", path: "/srv/p/a" })).toBe("allow");
    expect(check(grantOf, { type: "write", path: "/srv/p/a" })).toBe("permission.argument_refused");
    expect(check(grantOf, { type: "write", path: "/srv/out/a" })).toBe("allow");
    expect(check(grantOf, { type: "read", path: "/srv/out/a" })).toBe("permission.argument_refused");
  });

  test("reads what calls and runs leave and the default graph, and no prompt or resource beyond that unless named", () => {
    const reads = (of: Grant, uri: string) => check(of, { type: "resource", uri });
    const own = ["capstan://artifacts/a1", "capstan://runs/r1", "capstan://graphs/default/entities/Ann"];
    const others = ["capstan://graphs/other/entities/Ann", "capstan://audit", "github+file:///a"];
    const grantOf = operator();
    expect([...own, ...others].map((uri) => reads(grantOf, uri))).toEqual([
      ...own.map(() => "allow"),
      ...others.map(() => "permission.no_right"),
    ]);
    expect(check(grantOf, { type: "prompt", name: "review" })).toBe("permission.no_right");
    const more = operator({ resources: ["github+"], prompts: ["review", "github__*"] });
    expect(reads(more, "github+file:///a")).toBe("allow");
    expect(reads(more, "gitlab+file:///a")).toBe("permission.no_right");
    for (const name of ["review", "github__x"]) expect(check(more, { type: "prompt", name })).toBe("allow");
    expect(check(more, { type: "prompt", name: "gitlab__x" })).toBe("permission.no_right");
  });

  test("asks after untrusted content, but for the tools that it is told not to", () => {
    const free = (of: Grant) => of.rights.tools.filter(({ tainted }) => tainted).map(({ name }) => name);
    expect(free(operator({ allow: ["*"] }))).toEqual([]);
    expect(free(operator({ allow: ["run_agent"], tainted: ["run_agent", "fs_*", "github__send"] }))).toEqual([
      "fs_list",
      "fs_stat",
      "run_agent",
    ]);
    expect(codeOf(() => operator({ tainted: ["github__sned"] }))).toBe("usage.bad_option");
  });

  test("refuses names that stand for nothing", () => {
    expect(codeOf(() => operator({ resources: ["artifacts"] }))).toBe("usage.bad_option");
    expect(codeOf(() => operator({ prompts: ["*x"] }))).toBe("usage.bad_option");
    for (const allow of ["nothing", "nothing*", "", "kg_*x", "FS_LIST"]) {
      expect(codeOf(() => operator({ allow: [allow] }))).toBe("usage.bad_option");
    }
    expect(codeOf(() => operator({ read: ["relative"] }))).toBe("usage.bad_option");
    expect(codeOf(() => operator({ read: ["/a/../b"] }))).toBe("usage.bad_option");
  });

  test("lasts as long as it is told, else until it is revoked", () => {
    expect(operatorGrant({ ...maker, ttlMs: minute, read: [], write: [], allow: [] }, tools).expiresAt).toBe(
      start + minute,
    );
    expect(new Date(operator().expiresAt).getUTCFullYear()).toBe(9999);
  });
});

describe("narrow() for a new grant", () => {
  test("from nothing holds what is named and nothing else", () => {
    const made = make({
      ...nothing,
      allow: ["fs_*"],
      read: ["/srv/p"],
      hosts: ["api.github.com"],
      calls: 3,
      ttlMs: minute,
    });
    expect(made).toMatchObject({
      rights: {
        tools: [right("fs_list", undefined, { pin: "builtin" }), right("fs_stat", undefined, { pin: "builtin" })],
        read: ["/srv/p"],
        write: [],
        net: [{ hosts: ["api.github.com"], schemes: ["https"], private: false }],
        runs: [],
        sessions: [],
        approve: [],
        prompts: [],
        resources: [],
      },
      limits: { calls: 3 },
      expiresAt: start + minute,
      delegations: 7,
    });
  });

  test("`*` stands for the tools that there are now, as they are defined now", () => {
    const made = make({ ...nothing, allow: ["*"] });
    expect(names(made)).toEqual(tools.map(({ name }) => name));
    const later = [...tools, builtin("appeared_later")];
    expect(later.filter(({ name, pin }) => findRight(made, name, pin) === null)).toEqual([builtin("appeared_later")]);
    expect(findRight(made, "github__send", "changed since")).toBeNull();
  });

  test("a language leaves the other arguments of code as free as they were", () => {
    const made = make({ ...nothing, allow: ["execute_code", "calculator"], languages: ["python"] });
    expect(call(made, "execute_code", { language: "python", code: "1", timeoutMs: 5 })).toBe("allow");
    expect(call(made, "execute_code", { language: "javascript", code: "1" })).toBe("permission.argument_refused");
    expect(call(made, "execute_code", { code: "1" })).toBe("permission.argument_refused");
    expect(call(made, "execute_code", { language: "python", later: 1 })).toBe("permission.argument_not_granted");
    expect(call(made, "calculator", { expression: "1" })).toBe("allow");
    expect(names(make({ languages: ["python"] }, made))).toEqual(names(made));
    expect(codeOf(() => make({ languages: ["javascript"] }, made))).toBe("permission.widen");
    expect(codeOf(() => make({ ...nothing, allow: ["calculator"], languages: ["python"] }))).toBe("usage.bad_option");
  });

  test("resources and prompts are those that are named, out of any", () => {
    const made = make({
      ...nothing,
      resources: ["capstan://artifacts/", "github+*"],
      prompts: ["review", "github__*"],
    });
    expect(made.rights).toMatchObject({
      tools: [],
      resources: [
        { type: "uri", under: "capstan://artifacts/" },
        { type: "uri", under: "github+" },
      ],
      prompts: ["review", "github__*"],
    });
    const less = { resources: ["github+file:///a/"], prompts: ["github__x"] };
    expect(make(less, made).rights).toMatchObject({
      resources: [{ type: "uri", under: "github+file:///a/" }],
      prompts: ["github__x"],
    });
    expect(make({}, made).rights).toEqual(made.rights);
    for (const more of [
      { resources: ["*"] },
      { resources: ["capstan://runs/"] },
      { prompts: ["*"] },
      { prompts: ["git*"] },
    ]) {
      expect(codeOf(() => make(more, made))).toBe("permission.widen");
    }
  });

  test("`tainted` frees allowed tools of asking after untrusted content; a child keeps that, or gives it up for good", () => {
    const free = (of: Grant) => of.rights.tools.filter(({ tainted }) => tainted).map(({ name }) => name);
    const made = make({ ...nothing, allow: ["fs_*", "github__send", "todo_add"], tainted: ["fs_list", "github__*"] });
    expect(free(made)).toEqual(["fs_list", "github__send"]);
    expect(free(make({}, made))).toEqual(free(made));
    expect(free(make({ allow: ["fs_*"] }, made))).toEqual(["fs_list"]);
    expect(free(make({ tainted: ["*"] }, made))).toEqual(free(made));
    const less = make({ tainted: ["fs_list"] }, made);
    expect(free(less)).toEqual(["fs_list"]);
    expect(codeOf(() => make({ tainted: ["github__send"] }, less))).toBe("permission.widen");
    expect(free(make({ ...nothing, allow: ["*"] }))).toEqual([]);
    expect(() => make({ ...nothing, allow: ["fs_list"], tainted: ["todo_add"] })).toThrow(
      '"todo_add" names no allowed tool. The allowed tools are: fs_list.',
    );
  });

  test("`approve` takes names, and patterns of what the parent may approve", () => {
    const made = make({ ...nothing, allow: ["fs_list"], approve: ["fs_*", "todo_add", "fs_list"] });
    expect(made.rights.approve).toEqual(["fs_list", "fs_stat", "todo_add"]);
    expect(make({ approve: ["fs_*"] }, made).rights.approve).toEqual(["fs_list", "fs_stat"]);
    expect(make({}, made).rights.approve).toEqual(made.rights.approve);
    expect(codeOf(() => make({ approve: ["kg_search"] }, made))).toBe("permission.widen");
    for (const approve of ["kg_*", "todo_ad", ""]) {
      expect(
        codeOf(() => make({ approve: [approve] }, made)),
        approve,
      ).toBe("usage.bad_option");
    }
  });

  test("`sessions` and `isolation` are what sessions may be called, and never less isolation", () => {
    const made = make({ ...nothing, allow: ["execute_code"], sessions: ["work", "a.b-1"], isolation: "os-sandbox" });
    expect(made.rights).toMatchObject({ sessions: ["work", "a.b-1"], isolation: "os-sandbox" });
    expect(make({ ...nothing, sessions: ["*"] }).rights.sessions).toEqual(["*"]);
    expect(make({ isolation: "container" }, made).rights.isolation).toBe("container");
    expect(codeOf(() => make({ isolation: "wasm-in-child" }, made))).toBe("permission.widen");
    for (const name of ["a b", "a*", "", "a".repeat(65)]) {
      expect(
        codeOf(() => make({ ...nothing, sessions: [name] })),
        name,
      ).toBe("usage.bad_option");
    }
  });

  test("`ask` marks calls that need an approval, and can't be taken back", () => {
    const made = make({ ...nothing, allow: ["fs_*", "todo_add"], ask: ["fs_*"] });
    expect(made.rights.tools.map(({ name, ask }) => [name, ask])).toEqual([
      ["fs_list", true],
      ["fs_stat", true],
      ["todo_add", false],
    ]);
    expect(make({ ask: [] }, made).rights.tools).toEqual(made.rights.tools);
    expect(codeOf(() => make({ ...nothing, allow: ["fs_list"], ask: ["todo_add"] }))).toBe("usage.bad_option");
  });
});

describe("narrow() of a grant", () => {
  const parent = { ...t1, rights: { ...t1.rights, approve: ["mail/send"] } };
  const request = (options: NarrowOptions) => narrow(parent, options, [], start);

  test("keeps what it is not told to narrow", () => {
    expect(request({})).toEqual({
      rights: parent.rights,
      limits: parent.limits,
      expiresAt: parent.expiresAt,
      delegations: parent.delegations - 1,
      run: "run1",
    });
    expect(codeOf(() => request({ allow: ["fs/*"] }))).toBe("usage.bad_option");
  });

  test("a pattern picks what the parent may call; a time is at most the parent's", () => {
    const known = parent.rights.tools.map(({ name }) => ({ name, pin: "p1", argumentNames: [] }));
    const picked = narrow(
      parent,
      { allow: ["fs/*"] },
      [...known, { name: "fs/write", pin: "p1", argumentNames: [] }],
      start,
    );
    expect(picked.rights.tools.map(({ name }) => name)).toEqual(["fs/read", "fs/list", "fs/move"]);
    expect(request({ ttlMs: 60 * minute }).expiresAt).toBe(parent.expiresAt);
    expect(request({ ttlMs: minute }).expiresAt).toBe(start + minute);
  });

  test("a run approves nothing, unless its maker says so", () => {
    const free = { ...parent, run: undefined };
    const { run: _, ...unbound } = free;
    expect(narrow(unbound, { run: "run7" }, [], start)).toMatchObject({ run: "run7", rights: { approve: [] } });
    expect(narrow(unbound, { run: "run7", approve: ["mail/send"] }, [], start).rights.approve).toEqual(["mail/send"]);
    expect(narrow(unbound, {}, [], start).rights.approve).toEqual(["mail/send"]);
  });

  test("of a grant that may not be handed on asks for what derive() refuses", () => {
    expect(narrow(t2, {}, [], start).delegations).toBe(0);
    expect(codeOf(() => derive(t2, narrow(t2, {}, [], start), { id: "x", now: start }))).toBe("permission.widen");
  });
});

describe("describeGrant()", () => {
  test("says in words what a person wants to know first", () => {
    const made = make({
      ...nothing,
      allow: ["execute_code", "fs_list", "github__send"],
      languages: ["python"],
      ask: ["github__*"],
      read: ["/srv/my data"],
      hosts: ["https://api.example.com"],
      calls: 20,
      ttlMs: 15 * minute,
    });
    expect(summarizeGrant(made)).toBe(
      'May run python with network to the granted hosts only, call fs_list, github__send, read under "/srv/my data", ' +
        "connect to api.example.com, at most 20 calls, until 2026-01-01 12:15:00 UTC; each call of github__send asks.",
    );
    const free = make({ ...nothing, allow: ["fs_list", "github__send"], tainted: ["github__*"], ttlMs: minute });
    expect(summarizeGrant(free)).toBe(
      "May call fs_list, github__send, until 2026-01-01 12:01:00 UTC; untrusted content makes no call of github__send ask.",
    );
    const many = Array.from({ length: 500 }, (_, index) => right(`a${index}`));
    expect(summarizeGrant({ ...made, rights: { ...made.rights, tools: many } })).toContain(
      "call a0, a1, a2, a3, a4, a5, a6, a7, a8, a9 and 490 more, read under",
    );
    const reading = make({ ...nothing, resources: ["capstan://runs/"], prompts: ["*"], ttlMs: minute });
    expect(summarizeGrant(reading)).toBe(
      'May read resources: the URI "capstan://runs/" or one below it, use the prompts * (any), until 2026-01-01 12:01:00 UTC.',
    );
    const offline = make({ ...nothing, allow: ["execute_code"], languages: ["python"], ttlMs: minute });
    expect(summarizeGrant(offline)).toBe("May run python without network, until 2026-01-01 12:01:00 UTC.");
    expect(describeGrant(offline, start).join("\n")).toContain("May run python without network: execute_code");
    const inSessions = (...sessions: string[]) => summarizeGrant(make({ ...nothing, sessions, ttlMs: minute }));
    expect(inSessions("a", "b")).toBe("May use the sessions a, b, until 2026-01-01 12:01:00 UTC.");
    expect(inSessions("*")).toBe("May use sessions of its own, until 2026-01-01 12:01:00 UTC.");
    const text = describeGrant(made, start).join("\n");
    expect(text).toContain("May run python with network to the granted hosts only");
    expect(text).toContain("May call github__send as defined by abc with any arguments, each call after an approval.");
    expect(text).toContain('May read files under "/srv/my data".');
    expect(text).toContain("It allows at most 20 calls.");
    expect(text).toContain("until 2026-01-01 12:15:00 UTC (15 min left).");
    expect(text).toContain("May approve nothing.");
  });

  test("leaves nothing unsaid: grants that differ are described differently", patience, () => {
    const sorted = (of: Grant): unknown => ({
      ...of,
      rights: {
        ...of.rights,
        tools: of.rights.tools.map((tool) => ({
          ...tool,
          args: tool.args?.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
        })),
      },
    });
    let differed = 0;
    fc.assert(
      fc.property(grant, grant, (a, b) => {
        // One part of the first comes from the second, so that most pairs differ in little.
        for (const part of Object.keys(a.rights)) {
          const mixed = {
            ...a,
            rights: { ...a.rights, ...Object.fromEntries(Object.entries(b.rights).filter(([key]) => key === part)) },
          };
          if (canonicalJson(sorted(a)) === canonicalJson(sorted(mixed))) continue;
          differed++;
          expect(describeGrant(a, start)).not.toEqual(describeGrant(mixed, start));
        }
      }),
      { numRuns: Math.ceil(pureCases / 10) },
    );
    expect(differed).toBeGreaterThan(pureCases / 5);
  });

  test("says every condition and limit", () => {
    const base = root({ tools: [right("t", [rule("a", { type: "string", maxLength: 5 })])] }, { limits: { calls: 1 } });
    const others: Partial<Grant>[] = [
      { id: "other" },
      { ancestors: [{ id: "above", limits: {} }] },
      { ancestors: [{ id: "above", limits: { bytes: 5 } }] },
      { principal: { org: "org1", user: "bob" } },
      { scope: { org: "org1", project: "q" } },
      { run: "run1" },
      { issuedAt: start - 1 },
      { notBefore: start + 1 },
      { expiresAt: start + 1 },
      { epoch: 1 },
      { delegations: 0 },
      ...["tokens", "costMicroUsd", "cpuMs", "wallMs", "bytes", "memoryBytes", "depth", "parallel", "runMs"].map(
        (name) => ({
          limits: { calls: 1, [name]: 1 },
        }),
      ),
    ];
    const all = [base, ...others.map((other) => ({ ...base, ...other }))];
    expect(new Set(all.map((one) => describeGrant(one, start).join("\n"))).size).toBe(all.length);
  });

  test("can't be made to say something else by a name", () => {
    const forged = root({
      tools: [
        right("t.\nMay call nothing else", undefined, { pin: "x\u202e" }),
        right("execute_code", [rule("language", { type: "one_of", values: ["python\nMay call nothing else"] })]),
      ],
      read: ["/a, /b", "/c\u2028d"],
    });
    const text = [...describeGrant(forged, start), summarizeGrant(forged)];
    expect(text.join("").match(/[\n\u202e\u2028]/)).toBeNull();
    expect(text).toContainEqual(expect.stringContaining('"t.\\nMay call nothing else"'));
    expect(text).toContainEqual(expect.stringContaining('"/a, /b"'));
  });
});

test("the grant of a run can be read back, whatever its starter holds", () => {
  const limits = { turns: 1, timeMs: 1, costMicroUsd: 1, depth: 1, parallel: 1 };
  const begin = (folders: number) => {
    const read = Array.from({ length: folders }, (_, place) => `/${place}`);
    return toRunGrant(root({ read }), { id: "g", runId: "run_1", now: start, limits });
  };
  expect(Grant.safeParse(begin(64)).success).toBe(true);
  expect(codeOf(() => begin(65))).toBe("permission.widen");
});

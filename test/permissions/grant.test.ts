import { describe, expect, test } from "vitest";
import { ceilingNames, counterNames, Limits } from "../../src/core/limits.ts";
import { demand, findRight, mustAsk } from "../../src/permissions/demand.ts";
import { derive } from "../../src/permissions/derive.ts";
import type { Grant, Need } from "../../src/permissions/grant.ts";
import { meet } from "../../src/permissions/meet.ts";
import { codeOf, minute, noRights, optional, right, root, rule, sameAs, start, t0, t1 } from "./grants.ts";

const check = (grant: Grant, need: Need): string => codeOf(() => demand(grant, [need], start));

describe("demand()", () => {
  const full = root({
    resources: [
      { type: "exact", value: "kg://g1" },
      { type: "path", under: "/r" },
    ],
    prompts: ["summarize"],
    read: ["/srv/p", "/srv/file.txt"],
    write: ["/srv/p/out"],
    net: [{ hosts: ["a.org"], schemes: ["https"], private: false }],
    runs: ["create", "read"],
    sessions: ["s1"],
    approve: ["mail"],
    isolation: "wasm-in-child",
  });
  const refused = "permission.argument_refused";
  const noRight = "permission.no_right";

  test.each<[Need, string]>([
    [{ type: "resource", uri: "kg://g1" }, "allow"],
    [{ type: "resource", uri: "/r/a" }, "allow"],
    [{ type: "resource", uri: "kg://g2" }, noRight],
    [{ type: "prompt", name: "summarize" }, "allow"],
    [{ type: "prompt", name: "toString" }, noRight],
    [{ type: "read", path: "/srv/p/a" }, "allow"],
    [{ type: "read", path: "/srv/file.txt" }, "allow"],
    [{ type: "read", path: "/srv/file.txt2" }, refused],
    [{ type: "read", path: "/srv/p-evil" }, refused],
    [{ type: "read", path: "/srv/p/../q" }, refused],
    [{ type: "write", path: "/srv/p/out/a" }, "allow"],
    [{ type: "write", path: "/srv/p/a" }, refused],
    [{ type: "net", url: "https://a.org/x" }, "allow"],
    [{ type: "net", url: "https://b.org/x" }, refused],
    [{ type: "run", action: "create" }, "allow"],
    [{ type: "run", action: "read", runId: "run9" }, "allow"],
    [{ type: "run", action: "cancel", runId: "run9" }, noRight],
    [{ type: "session", name: "s1" }, "allow"],
    [{ type: "session", name: "s2" }, noRight],
    [{ type: "isolation", level: "wasm-in-child" }, "allow"],
    [{ type: "isolation", level: "container" }, "allow"],
    [{ type: "isolation", level: "wasm-in-thread" }, noRight],
    [{ type: "delegate" }, "allow"],
    [{ type: "approve", tool: "mail" }, "allow"],
    [{ type: "approve", tool: "mail2" }, noRight],
  ])("%j: %s", (need, expected) => {
    expect(check(full, need)).toBe(expected);
  });

  test("a grant without rights allows nothing", () => {
    const needs: Need[] = [
      { type: "tool", name: "t", pin: "p1", args: {} },
      { type: "resource", uri: "kg://g1" },
      { type: "prompt", name: "summarize" },
      { type: "read", path: "/srv/p/a" },
      { type: "write", path: "/srv/p/a" },
      { type: "net", url: "https://a.org/x" },
      { type: "run", action: "create" },
      { type: "session", name: "s1" },
      { type: "approve", tool: "mail" },
      { type: "delegate" },
    ];
    expect(needs.filter((need) => check(root({}, { delegations: 0 }), need) === "allow")).toEqual([]);
  });

  test("a need of a kind that does not exist is refused", () => {
    const need: Need = JSON.parse('{"type":"everything"}');
    expect(check(full, need)).toBe(noRight);
  });

  test("every need must pass, and none of a grant that is not valid now", () => {
    const [yes, no]: Need[] = [
      { type: "prompt", name: "summarize" },
      { type: "prompt", name: "x" },
    ];
    expect(codeOf(() => demand(full, yes === undefined || no === undefined ? [] : [yes, no], start))).toBe(noRight);
    expect(codeOf(() => demand(full, [], full.expiresAt - 1))).toBe("allow");
    expect(codeOf(() => demand(full, [], full.expiresAt))).toBe("token.expired");
    expect(codeOf(() => demand(full, [], full.notBefore - minute))).toBe("token.not_yet_valid");
  });

  test("refusals say what is allowed and what to type, and keep the secrets of a URL", () => {
    const textOf = (need: Need): string => {
      try {
        demand(full, [need], start);
        return "";
      } catch (thrown) {
        return String(thrown);
      }
    };
    expect(textOf({ type: "read", path: "/etc/my file" })).toMatch(/\/srv\/p, .*--root '\/etc\/my file'$/);
    expect(textOf({ type: "write", path: "/etc//x/" })).toMatch(/--write \/etc\/x$/);
    expect(textOf({ type: "read", path: "../x" })).toMatch(/absolute path/);
    expect(textOf({ type: "net", url: "https://ann:secret@b.org/x?key=secret" })).toMatch(/b\.org/);
    expect(textOf({ type: "net", url: "https://ann:secret@b.org/x?key=secret" })).not.toMatch(/secret/);
    expect(textOf({ type: "read", path: `/a\n\u202e${"x".repeat(3000)}` })).toMatch(/^[^\n\u202e]{0,400}--root DIR$/);
  });

  test("what is allowed of an argument is decided by the value that is there", () => {
    const grant = root({
      tools: [right("t", [rule("a", { type: "any" }), optional("b", { type: "exact", value: 1 })])],
    });
    const call = (args: Record<string, unknown>): string => check(grant, { type: "tool", name: "t", pin: "p1", args });
    expect([call({}), call({ a: 1 }), call({ b: 1 }), call({ b: undefined })]).toEqual(
      Array.from({ length: 4 }, () => "allow"),
    );
    expect([call({ b: 2 }), call({ b: null })]).toEqual([refused, refused]);
    expect([call({ c: undefined }), call({ c: 1 })]).toEqual(
      Array.from({ length: 2 }, () => "permission.argument_not_granted"),
    );
    const named = root({ tools: [right("t", [optional("__proto__", { type: "exact", value: 1 })])] });
    expect(check(named, { type: "tool", name: "t", pin: "p1", args: JSON.parse('{"__proto__":1}') })).toBe("allow");
    expect(check(named, { type: "tool", name: "t", pin: "p1", args: JSON.parse('{"__proto__":2}') })).toBe(refused);
    expect(check(named, { type: "tool", name: "t", pin: "p1", args: {} })).toBe("allow");
  });

  test("the first of two rights of one name counts, in deciding and in deriving, and of two rules of one argument too", () => {
    const ruled = root({
      tools: [right("t", [optional("a", { type: "exact", value: 1 }), optional("a", { type: "any" })])],
    });
    expect(check(ruled, { type: "tool", name: "t", pin: "p1", args: { a: 2 } })).toBe(refused);
    expect(check(ruled, { type: "tool", name: "t", pin: "p1", args: { a: 1 } })).toBe("allow");
    const twice = root({ tools: [right("t", [optional("a", { type: "exact", value: 1 })]), right("t")] });
    expect(check(twice, { type: "tool", name: "t", pin: "p1", args: { a: 2 } })).toBe(refused);
    const request = { ...sameAs(twice), rights: { ...noRights, tools: [right("t")] } };
    expect(codeOf(() => derive(twice, request, { id: "x", now: start }))).toBe("permission.widen");
    expect(codeOf(() => derive(twice, sameAs(twice), { id: "x", now: start }))).toBe("permission.widen");
  });
});

describe("findRight()", () => {
  const never = { type: "one_of", values: [] } as const;
  const grant = root({
    tools: [
      right("any"),
      right("none", []),
      right("some", [optional("a", never)]),
      right("unusable", [rule("a", never)]),
      right("empty", [rule("a", { type: "range", min: 2, max: 1 })]),
    ],
  });

  test("finds what some arguments could call, and nothing else", () => {
    const found = ["any", "none", "some", "unusable", "empty", "toString", "__proto__", "ANY"].filter(
      (name) => findRight(grant, name, "p1") !== null,
    );
    expect(found).toEqual(["any", "none", "some"]);
    expect(check(grant, { type: "tool", name: "unusable", pin: "p1", args: {} })).toBe("permission.no_right");
    expect(check(grant, { type: "tool", name: "some", pin: "p1", args: {} })).toBe("allow");
  });

  test("a tool that was redefined is another tool", () => {
    expect(findRight(grant, "any", "p2")).toBeNull();
    expect(check(grant, { type: "tool", name: "any", pin: "p2", args: {} })).toBe("permission.no_right");
  });
});

describe("mustAsk()", () => {
  test("asks where the right says so, and at a sink after untrusted content", () => {
    const plain = right("t");
    expect(mustAsk(plain, true, [])).toBe(false);
    expect(mustAsk(plain, false, ["files"])).toBe(false);
    expect(mustAsk(plain, true, ["files"])).toBe(true);
    expect(mustAsk(right("t", [], { tainted: true }), true, ["files"])).toBe(false);
    expect(mustAsk(right("t", [], { ask: true, tainted: true }), false, [])).toBe(true);
  });
});

describe("derive()", () => {
  test("gives the child its place: lineage, owner, run, time", () => {
    const child = derive(t1, { ...sameAs(t1), expiresAt: start + minute }, { id: "child", now: start + 1 });
    expect(child).toMatchObject({
      id: "child",
      ancestors: [
        { id: "t0", limits: t0.limits },
        { id: "t1", limits: t1.limits },
      ],
      principal: t1.principal,
      scope: t1.scope,
      run: "run1",
      issuedAt: start + 1,
      notBefore: start + 1,
      expiresAt: start + minute,
      epoch: t1.epoch,
      delegations: t1.delegations - 1,
    });
    expect(Object.isFrozen(child.ancestors[0]?.limits)).toBe(true);
  });

  test("keeps what was checked: the request may change afterwards, the grant does not", () => {
    const tools = [right("fs/read", [rule("path", { type: "path", under: "/srv/project/src/lib" })])];
    const request = { ...sameAs(t1), rights: { ...noRights, tools } };
    const child = derive(t1, request, { id: "child", now: start });
    tools.push(right("host/mint"));
    tools[0]?.args?.splice(0);
    expect(child.rights.tools).toHaveLength(1);
    expect(child.rights.tools[0]?.args).toHaveLength(1);
  });

  test("goes at most sixteen generations deep", () => {
    const ancestors = Array.from({ length: 16 }, (_, at) => ({ id: `a${at}`, limits: {} }));
    const deep = root({}, { ancestors, delegations: 8 });
    expect(codeOf(() => derive(deep, sameAs(deep), { id: "x", now: start }))).toBe("permission.widen");
    const shallow = { ...deep, ancestors: ancestors.slice(1) };
    expect(codeOf(() => derive(shallow, sameAs(shallow), { id: "x", now: start }))).toBe("allow");
  });

  test("compares every limit that there is", () => {
    expect([...counterNames, ...ceilingNames].sort()).toEqual(Object.keys(Limits.shape).sort());
  });
});

describe("meet()", () => {
  const met = (a: Partial<Grant["rights"]>, b: Partial<Grant["rights"]>): Grant["rights"] =>
    meet(root(a), root(b, { id: "b" }), { now: start }).rights;

  test("keeps of each list what both allow", () => {
    expect(met({ read: ["/a", "/b/c", "/d"] }, { read: ["/a/x", "/b", "/e"] }).read).toEqual(["/b/c", "/a/x"]);
    expect(met({ prompts: ["a", "b"] }, { prompts: ["b", "c"] }).prompts).toEqual(["b"]);
    expect(met({ sessions: ["*"] }, { sessions: ["s"] }).sessions).toEqual(["s"]);
    expect(met({ sessions: ["s", "t"] }, { sessions: ["t"] }).sessions).toEqual(["t"]);
    expect(met({ runs: ["create", "read"] }, { runs: ["read"] }).runs).toEqual(["read"]);
    expect(met({ isolation: "wasm-in-thread" }, { isolation: "container" }).isolation).toBe("container");
    const https = { hosts: ["*.x.org"], schemes: ["https" as const], private: true };
    expect(
      met({ net: [https] }, { net: [{ hosts: ["a.x.org"], schemes: ["https", "http"], private: false }] }).net,
    ).toEqual([{ hosts: ["a.x.org"], schemes: ["https"], private: false }]);
  });

  test("keeps of each tool the stricter side, and drops it where no call is left", () => {
    const path = (under: string) => ({ type: "path", under }) as const;
    const tool = (a: ReturnType<typeof right>, b: ReturnType<typeof right>) =>
      met({ tools: [a] }, { tools: [b] }).tools;
    expect(tool(right("t"), right("t", [rule("p", path("/a"))]))).toEqual([right("t", [rule("p", path("/a"))])]);
    expect(tool(right("t", [rule("p", path("/a"))]), right("t", [optional("p", path("/a/b"))]))).toEqual([
      right("t", [rule("p", path("/a/b"))]),
    ]);
    expect(tool(right("t", [rule("p", path("/a"))]), right("t", [rule("p", path("/b"))]))).toEqual([]);
    expect(tool(right("t", [rule("p", path("/a"))]), right("t", []))).toEqual([]);
    expect(tool(right("t", [optional("p", path("/a"))]), right("t", []))).toEqual([right("t", [])]);
    expect(tool(right("t"), right("u"))).toEqual([]);
    expect(tool(right("t"), right("t", undefined, { pin: "p2" }))).toEqual([]);
    expect(tool(right("t", [], { ask: true, tainted: true }), right("t", [], { tainted: true }))).toEqual([
      right("t", [], { ask: true, tainted: true }),
    ]);
    expect(tool(right("t", [], { tainted: true }), right("t", []))).toEqual([right("t", [])]);
  });

  test("lives and counts as long as the shorter of both, and on both lineages", () => {
    const other = root(
      {},
      { id: "b", limits: { calls: 5, depth: 2 }, expiresAt: start + minute, notBefore: start + 5, epoch: 2 },
    );
    const both = meet(t1, other, { now: start });
    expect(both).toMatchObject({
      limits: { calls: 5, costMicroUsd: 1_000_000, tokens: 50_000, depth: 2 },
      expiresAt: start + minute,
      notBefore: start + 5,
      epoch: 0,
      run: "run1",
      delegations: 2,
    });
    expect(both.ancestors.map(({ id }) => id)).toEqual(["t0", "t1", "b"]);
    expect(Object.isFrozen(both.rights)).toBe(true);
  });

  test("lets a run go on after it no longer than either grant does", () => {
    const mayOutlive = root({}, { id: "a", limits: { runMs: 60 * minute }, expiresAt: start + 15 * minute });
    const most = (limits: Grant["limits"], expiresAt: number): number | undefined =>
      meet(mayOutlive, root({}, { id: "b", limits, expiresAt }), { now: start }).limits.runMs;
    expect(most({ runMs: 30 * minute }, start + minute)).toBe(30 * minute);
    expect(most({}, start + 10 * minute)).toBe(0);
    expect(most({}, start + 20 * minute)).toBe(5 * minute);
    expect(most({}, start + 600 * minute)).toBe(60 * minute);
  });

  test("of the same two grants has the same id, unless it is told another", () => {
    const b = root({}, { id: "b" });
    expect(meet(t1, b, { now: start }).id).toBe(meet(t1, b, { now: start + 1 }).id);
    expect(meet(t1, b, { now: start }).id).not.toBe(meet(b, t1, { now: start }).id);
    expect(meet(t1, b, { id: "mine", now: start }).id).toBe("mine");
  });

  test("of lineages that are too long is refused", () => {
    const long = (name: string, length: number): Grant =>
      root({}, { id: name, ancestors: Array.from({ length }, (_, at) => ({ id: `${name}${at}`, limits: {} })) });
    expect(codeOf(() => meet(long("a", 7), long("b", 7), { now: start }))).toBe("allow");
    expect(codeOf(() => meet(long("a", 8), long("b", 7), { now: start }))).toBe("permission.widen");
    expect(codeOf(() => meet(long("a", 15), { ...long("a", 15), id: "b" }, { now: start }))).toBe("permission.widen");
  });
});

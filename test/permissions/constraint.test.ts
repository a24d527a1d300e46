import { describe, expect, test } from "vitest";
import { isPrivateAddress } from "../../src/permissions/address.ts";
import { checkConstraint, coversConstraint, isSatisfiable, meetConstraints } from "../../src/permissions/constraint.ts";
import type { Constraint } from "../../src/permissions/grant.ts";
import { isUnder, pathParts, plainPath } from "../../src/permissions/path-rule.ts";
import { parseUrlRule } from "../../src/permissions/url-rule.ts";
import { codeOf } from "./grants.ts";

const url = (hosts: string[], over: { schemes?: ("https" | "http")[]; private?: boolean } = {}): Constraint => ({
  type: "url",
  hosts,
  schemes: over.schemes ?? ["https"],
  private: over.private ?? false,
});
const uri = (under: string): Constraint => ({ type: "uri", under });
const range: Constraint = { type: "range", min: 1, max: 10 };
const never: Constraint = { type: "one_of", values: [] };

/** A rule of a kind that does not exist, as a foreign token or an older version might hold it. */
const unknownRule: Constraint = JSON.parse('{"type":"regex","pattern":".*"}');
const hole: unknown[] = [];
hole.length = 1;

describe("checkConstraint()", () => {
  test.each<[Constraint, unknown[], unknown[]]>([
    [{ type: "exact", value: 5 }, [5], ["5", [5], 5.1, Number.NaN, null, true]],
    [{ type: "exact", value: null }, [null], [undefined, 0, "", "null"]],
    [{ type: "one_of", values: ["a", 1, null] }, ["a", 1, null], ["A", "1", true, ["a"], undefined, "toString"]],
    [range, [1, 10, 5.5], [0, 11, "5", [5], Number.NaN, Number.POSITIVE_INFINITY, null, true, {}, 5n, new Date(5)]],
    [{ type: "range", min: 1, max: Number.POSITIVE_INFINITY }, [1e300], [Number.POSITIVE_INFINITY, Number.NaN]],
    [{ type: "string", maxLength: 3 }, ["", "abc"], ["abcd", 1, null, ["a"], { length: 1 }]],
    [
      { type: "each", of: range, max: 2 },
      [[], [1], [1, 2]],
      [[1, 2, 3], [11], ["1"], 1, "12", { length: 0 }, [1, [2]], hole],
    ],
    [
      { type: "subset", values: ["a", "b"] },
      [[], ["b"], ["b", "a"]],
      [["c"], ["a", "a"], "a", ["a", "b", "a"], [["a"]], hole],
    ],
    [unknownRule, [], ["x", "", null, undefined, {}]],
    [never, [], ["", null, undefined, []]],
  ])("%j takes types as they are", (rule, allowed, denied) => {
    expect(allowed.filter((value) => !checkConstraint(rule, value))).toEqual([]);
    expect(denied.filter((value) => checkConstraint(rule, value))).toEqual([]);
  });

  test.each([
    ["/data", "/data", true],
    ["/data", "/data/a/b", true],
    ["/data", "/data/", true],
    ["/data", "//data/./a//b", true],
    ["/data/", "/data/a", true],
    ["/", "/anything", true],
    ["/data", "/data/a..b/...", true],
    ["/data", "/data/100%/%C3%A9/a%2Fb/%zz", true],
    ["/data", "/data-evil", false],
    ["/data", "/dat", false],
    ["/data", "/", false],
    ["/data", "/DATA/a", false],
    ["/data/é", "/data/e\u0301", false],
    ["/data", "/data/..", false],
    ["/data", "/data/../data/a", false],
    ["/data", "data/a", false],
    ["/data", "", false],
    ["/data", "/data/a\0", false],
    ["/data", "/data/a\\..\\b", false],
    ["/data", "/data/%2e%2e/x", false],
    ["/data", "/data/%2E./x", false],
    ["/data", "/data/.%2e%2fx", false],
    ["/data", "/data/%252e%252e/x", false],
    ["/data", "/data/%25252e%25252e/x", false],
    ["/data", "/data/%25%32%65./x", false],
    ["/data", "/data/a%00", false],
    ["/data", "/data/..%5cx", false],
    ["/data", "/data/%25252525252525252541", false],
    ["/data", `/data/${"a/".repeat(2100)}`, false],
    ["/data/..", "/", false],
    ["data", "/data", false],
  ])("a path under %j: %j is %s", (folder, path, expected) => {
    expect(isUnder(folder, path)).toBe(expected);
    expect(checkConstraint({ type: "path", under: folder }, path)).toBe(expected);
  });

  const exact = url(["api.github.com"]);
  const wild = url(["*.example.org"]);
  test.each<[Constraint, string, boolean]>([
    [exact, "https://api.github.com", true],
    [exact, "https://API.GitHub.com:443/a?b#c", true],
    [exact, "https://api.github.com/@evil.test/https://x", true],
    [exact, "https://api.github.com:8443/", false],
    [url(["api.github.com:8443"]), "https://api.github.com:8443/", true],
    [url(["api.github.com:8443"]), "https://api.github.com/", false],
    [exact, "https://api.github.com./", false],
    [exact, "https://api.github.com@evil.test/", false],
    [exact, "https://evil.test@api.github.com/", false],
    [exact, "https://@api.github.com/", false],
    [exact, "https://api.github.com:pw@api.github.com/", false],
    [exact, "https://evil.test\\@api.github.com/", false],
    [exact, "https://api.github.com\\@evil.test/", false],
    [exact, "https://api.github.com\t.evil.test/", false],
    [exact, "https://api.gith\nub.com/", false],
    [exact, " https://api.github.com/", false],
    [exact, "https:api.github.com", false],
    [exact, "https:///api.github.com", false],
    [exact, "//api.github.com/", false],
    [exact, "http://api.github.com/", false],
    [exact, "ftp://api.github.com/", false],
    [exact, "https://%61pi.github.com/", false],
    [exact, "https://api。github.com/", false],
    [exact, "https://ａpi.github.com/", false],
    [exact, "https://api.github.com%00.evil.test/", false],
    [exact, `https://api.github.com/${"a".repeat(9000)}`, false],
    [wild, "https://cdn.example.org/", true],
    [wild, "https://a.b.example.org/", true],
    [wild, "https://example.org/", false],
    [wild, "https://evilexample.org/", false],
    [wild, "https://example.org.evil.test/", false],
    [wild, "https://.example.org/", false],
    [wild, "https://cdn.example.org:8443/", false],
    [url(["*.0.0.1"], { private: true }), "https://127.0.0.1/", false],
    [url(["*"]), "https://any.test:8443/", true],
    [url(["*"]), "https://8.8.8.8/", true],
    [url(["*"]), "https://127.0.0.1/", false],
    [url(["*"]), "https://localhost/", false],
    [url(["*"]), "https://any.test./", false],
    [url(["*"]), "https://localhost./", false],
    [url(["*"]), "https://printer.local/", false],
    [url(["*"]), "https://intranet/", false],
    [url(["*"]), "https://[::1]/", false],
    [url(["*"]), "https://[fe80::1]/", false],
    [url(["*"]), "https://[2606:4700::1111]/", true],
    [url(["*"], { private: true }), "https://127.0.0.1/", true],
    [url(["*"], { private: true }), "https://2130706433/", false],
    [url(["*"], { private: true }), "https://0x7f.1/", false],
    [url(["*"], { private: true }), "https://[::ffff:127.0.0.1]/", false],
    [url(["localhost:8080"], { schemes: ["http"], private: true }), "http://localhost:8080/", true],
    [url(["localhost:8080"], { schemes: ["http"] }), "http://localhost:8080/", false],
  ])("%j on %j is %s", (rule, value, expected) => {
    expect(checkConstraint(rule, value)).toBe(expected);
  });
});

describe("isPrivateAddress()", () => {
  test("knows every way of writing an address that is not public", () => {
    const inside = [
      "127.0.0.1",
      "10.1.2.3",
      "172.16.0.1",
      "172.31.255.255",
      "192.168.0.1",
      "169.254.169.254",
      "100.64.0.1",
    ];
    inside.push(
      "0.0.0.0",
      "224.0.0.1",
      "255.255.255.255",
      "198.18.0.1",
      "::",
      "::1",
      "::127.0.0.1",
      "fe80::1%eth0",
      "fd00::1",
    );
    inside.push(
      "::ffff:169.254.169.254",
      "::ffff:a9fe:a9fe",
      "64:ff9b::7f00:1",
      "2002:7f00:1::",
      "2001:0:1::1",
      "ff02::1",
    );
    inside.push("", "localhost", "2130706433", "0x7f000001", "127.1", "1.2.3.4.5", "[::1]");
    const outside = [
      "8.8.8.8",
      "172.32.0.1",
      "172.15.255.255",
      "100.128.0.1",
      "11.0.0.1",
      "2606:4700::1111",
      "2a00:1450::1",
    ];
    outside.push("::ffff:8.8.8.8", "223.255.255.255");
    expect(inside.filter((address) => !isPrivateAddress(address))).toEqual([]);
    expect(outside.filter(isPrivateAddress)).toEqual([]);
  });
});

describe("coversConstraint()", () => {
  test.each<[Constraint, Constraint, boolean]>([
    [{ type: "any" }, url(["*"]), true],
    [range, { type: "any" }, false],
    [never, { type: "any" }, false],
    [{ type: "any" }, never, true],
    [never, { type: "one_of", values: [] }, true],
    [{ type: "string", maxLength: 3 }, { type: "one_of", values: ["abc", ""] }, true],
    [{ type: "string", maxLength: 3 }, { type: "one_of", values: ["abc", 1] }, false],
    [{ type: "path", under: "/a" }, { type: "exact", value: "/a/b" }, true],
    [{ type: "path", under: "/a" }, { type: "exact", value: "/ab" }, false],
    [{ type: "path", under: "/a" }, { type: "path", under: "/a/../b" }, false],
    [{ type: "path", under: "/a" }, { type: "path", under: "/ab" }, false],
    [uri("x://h/"), uri("x://h/a"), true],
    [uri("x://h"), uri("x://h/a"), true],
    [uri("x://h"), uri("x://hh/"), false],
    [uri("x://h/a"), uri("x://h/"), false],
    [uri("s+"), uri("s+x://h/"), true],
    [uri("x://h:"), uri("x://h:1"), false],
    [uri("x://h/"), uri("x://h/../b/"), false],
    [uri("x://h/"), { type: "exact", value: "x://h/a" }, true],
    [uri("x://h/"), { type: "one_of", values: ["x://h/a", "x://h/../a"] }, false],
    [uri("x://h/"), { type: "string", maxLength: 9 }, false],
    [{ type: "any" }, uri("x://h/"), true],
    [{ type: "string", maxLength: 99 }, uri("x://h/"), false],
    [url(["*.x.org"]), url(["a.x.org", "*.b.x.org", "*.x.org"]), true],
    [url(["*.x.org"]), url(["x.org"]), false],
    [url(["*.x.org"]), url(["*"]), false],
    [url(["*.x.org"]), url(["*.evilx.org"]), false],
    [url(["*.8.8"]), url(["8.8.8.8"]), false],
    [url(["*"]), url(["localhost:8080"]), true],
    [url(["a.org"], { private: true }), url(["a.org"]), true],
    [url(["a.org"]), url(["a.org"], { private: true }), false],
    [url(["a.org"]), url(["a.org"], { schemes: ["http"] }), false],
    [{ type: "each", of: range, max: 3 }, { type: "each", of: { type: "exact", value: 2 }, max: 3 }, true],
    [{ type: "each", of: range, max: 3 }, { type: "each", of: range, max: 4 }, false],
    [{ type: "each", of: range, max: 2 }, { type: "subset", values: [1, 2] }, true],
    [{ type: "each", of: range, max: 1 }, { type: "subset", values: [1, 2] }, false],
    [{ type: "subset", values: [1, 2] }, { type: "each", of: { type: "exact", value: 1 }, max: 2 }, false],
    [{ type: "any" }, unknownRule, false],
    [unknownRule, unknownRule, false],
    [unknownRule, range, false],
    [{ type: "any" }, { type: "each", of: unknownRule, max: 1 }, false],
  ])("%j over %j is %s", (parent, child, expected) => {
    expect(coversConstraint(parent, child)).toBe(expected);
  });
});

describe("meetConstraints()", () => {
  test.each<[Constraint, Constraint, Constraint]>([
    [range, { type: "range", min: 5, max: 20 }, { type: "range", min: 5, max: 10 }],
    [range, { type: "range", min: 11, max: 20 }, never],
    [range, { type: "one_of", values: [1, 20, "1"] }, { type: "one_of", values: [1] }],
    [
      { type: "path", under: "/a" },
      { type: "path", under: "/a/b" },
      { type: "path", under: "/a/b" },
    ],
    [{ type: "path", under: "/a" }, { type: "path", under: "/b" }, never],
    [uri("x://h/"), uri("x://h/a"), uri("x://h/a")],
    [uri("x://h/a"), uri("x://h"), uri("x://h/a")],
    [uri("x://h/"), uri("x://i/"), never],
    [uri("x://h/"), { type: "one_of", values: ["x://h/a", "y:b"] }, { type: "one_of", values: ["x://h/a"] }],
    [{ type: "path", under: "/a" }, { type: "string", maxLength: 9 }, never],
    [url(["*.x.org", "y.org"]), url(["a.x.org", "z.org"]), url(["a.x.org"])],
    [url(["a.org"]), url(["b.org"]), never],
    [url(["a.org"], { private: true }), url(["*"]), url(["a.org"])],
    [
      { type: "subset", values: [1, 2, 3] },
      { type: "subset", values: [3, 4] },
      { type: "subset", values: [3] },
    ],
    [
      { type: "subset", values: [1, 20] },
      { type: "each", of: range, max: 2 },
      { type: "subset", values: [1] },
    ],
    [unknownRule, unknownRule, never],
    [unknownRule, { type: "any" }, never],
  ])("%j and %j meet in %j", (a, b, expected) => {
    expect(meetConstraints(a, b)).toEqual(expected);
  });

  test("what nothing satisfies is known to be so", () => {
    expect([never, { type: "range", min: 2, max: 1 } as const, unknownRule].filter(isSatisfiable)).toEqual([]);
    expect(isSatisfiable({ type: "path", under: "/a/../b" })).toBe(false);
    expect([uri("x://h/.."), uri("x://h/%2e"), uri("")].filter(isSatisfiable)).toEqual([]);
    expect(isSatisfiable(uri("x://h/"))).toBe(true);
    expect([range, { type: "subset", values: [] } as const, url(["a.org"])].every(isSatisfiable)).toBe(true);
  });
});

describe("paths and hosts as people write them", () => {
  test("have one spelling each", () => {
    expect(plainPath("//a/./b/")).toBe("/a/b");
    expect(plainPath("/")).toBe("/");
    expect(pathParts("/a/../b")).toBeNull();
    expect(parseUrlRule("api.GitHub.com")).toEqual({ hosts: ["api.github.com"], schemes: ["https"], private: false });
    expect(parseUrlRule("*.example.org")).toEqual({ hosts: ["*.example.org"], schemes: ["https"], private: false });
    expect(parseUrlRule("http://localhost:8080/")).toEqual({
      hosts: ["localhost:8080"],
      schemes: ["http"],
      private: true,
    });
    expect(parseUrlRule("https://a.org:443").hosts).toEqual(["a.org"]);
    expect(parseUrlRule("*")).toEqual({ hosts: ["*"], schemes: ["https"], private: false });
    expect(parseUrlRule("wss://192.168.1.9")).toEqual({ hosts: ["192.168.1.9"], schemes: ["wss"], private: true });
  });

  test.each(["", "https://", "a.org/path", "ftp://a.org", "user@a.org", "a b.org", "*.", "https://a.org?x", "a\\b"])(
    "%j is no host",
    (text) => {
      expect(codeOf(() => parseUrlRule(text))).toBe("usage.bad_option");
    },
  );
});

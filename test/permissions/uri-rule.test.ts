import { describe, expect, test } from "vitest";
import { checkConstraint, mayAllowText } from "../../src/permissions/constraint.ts";
import type { Constraint } from "../../src/permissions/grant.ts";
import { isUnderUri, mayLeadUnder, parseUriRule } from "../../src/permissions/uri-rule.ts";
import { codeOf } from "./grants.ts";

const below = (under: string): Constraint => ({ type: "uri", under });

describe("isUnderUri()", () => {
  test.each([
    ["capstan://artifacts/", "capstan://artifacts/a1", true],
    ["capstan://artifacts/", "capstan://artifacts/a1/2", true],
    ["capstan://artifacts/", "capstan://artifacts/", true],
    ["capstan://artifacts/", "capstan://artifacts", false],
    ["capstan://artifacts/", "capstan://artifacts-evil/a1", false],
    ["capstan://artifacts/", "CAPSTAN://artifacts/a1", false],
    ["capstan://artifacts/a1", "capstan://artifacts/a1", true],
    ["capstan://artifacts/a1", "capstan://artifacts/a1/2", true],
    ["capstan://artifacts/a1", "capstan://artifacts/a1?part=2", true],
    ["capstan://artifacts/a1", "capstan://artifacts/a1#2", true],
    ["capstan://artifacts/a1", "capstan://artifacts/a12", false],
    ["capstan://artifacts/a1", "capstan://artifacts/a1;x", false],
    ["capstan://artifacts/a1", "capstan://artifacts/", false],
    ["github+", "github+file:///a", true],
    ["github+", "github-evil+file:///a", false],
    ["github", "github+file:///a", false],
    ["github+https:", "github+https://any.host/", true],
    ["urn:isbn:", "urn:isbn:1", true],
    ["urn:isbn", "urn:isbn:1", false],
    ["g+https://host", "g+https://host/a", true],
    ["g+https://host", "g+https://host.evil/a", false],
    ["g+https://host", "g+https://host@evil/a", false],
    ["g+https://host", "g+https://host:443/a", false],
    ["g+https://host:", "g+https://host:x@evil/a", false],
    ["g+https://host+", "g+https://host+x@evil/a", false],
    ["g+https://host:443", "g+https://host:443/a", true],
    ["x://h/", "x://h/a..b/...", true],
    ["x://h/", "x://h/caf%C3%A9%20au%20lait", true],
    ["x://h/", "x://h/100%25", true],
    ["x://h/", "x://h/é", true],
    ["x://h/", "x://h/..", false],
    ["x://h/", "x://h/../a", false],
    ["x://h/", "x://h/a/..?b", false],
    ["x://h/", "x://h/a?b=../c", false],
    ["x://h/", "x://h/..;/a", false],
    ["x://h/", "x://h/..%20/a", false],
    ["x://h/", "x://h/%2e%2e/a", false],
    ["x://h/", "x://h/a%2Eb", false],
    ["x://h/", "x://h/a%2Fb", false],
    ["x://h/", "x://h/a%5cb", false],
    ["x://h/", "x://h/a\\b", false],
    ["x://h/", "x://h/%252e%252e/a", false],
    ["x://h/", "x://h/%25252fa", false],
    ["x://h/", "x://h/%25%32%65./a", false],
    ["x://h/", "x://h/%25252525252541", false],
    ["x://h/", "x://h/a\n", false],
    ["x://h/", "x://h/a\0", false],
    ["x://h/", "x://h/a%00", false],
    ["x://h/", "x://h/a%0d%0ab", false],
    ["x://h/", "x://h/a%C2%85b", false],
    ["x://h/", "x://h/a%", false],
    ["x://h/", "x://h/%c0%ae%c0%ae/a", false],
    ["x://h/", `x://h/${"a".repeat(9000)}`, false],
    ["x://h/..", "x://h/..", false],
    ["x://h/%2e", "x://h/%2e", false],
    ["", "x://h/", false],
    ["", "", false],
    ["/", "/a", false],
  ])("a URI under %j: %j is %s", (under, uri, expected) => {
    expect(isUnderUri(under, uri)).toBe(expected);
    expect(checkConstraint({ type: "uri", under }, uri)).toBe(expected);
    expect(mayLeadUnder(under, uri.slice(0, 9)) || !expected).toBe(true);
  });

  test("a URI under something is a text", () => {
    const rule: Constraint = { type: "uri", under: "x://h/" };
    expect(
      [["x://h/a"], { toString: () => "x://h/a" }, null, 1].filter((value) => checkConstraint(rule, value)),
    ).toEqual([]);
  });
});

describe("mayAllowText()", () => {
  test.each<[Constraint, string, boolean]>([
    [{ type: "any" }, "capstan://", true],
    [{ type: "url", hosts: ["a.org"], schemes: ["https"], private: false }, "https://b.org/", true],
    [below("capstan://graphs/default/"), "capstan://graphs/", true],
    [below("capstan://graphs/"), "capstan://graphs/default/entities/", true],
    [below("capstan://graph"), "capstan://graphs/", false],
    [below("capstan://graphs/default/"), "capstan://artifacts/", false],
    [below("capstan://graphs/default/"), "capstan://graphs/other/", false],
    [{ type: "exact", value: "capstan://artifacts/a" }, "capstan://artifacts/", true],
    [{ type: "one_of", values: ["x:1", 5] }, "capstan://artifacts/", false],
    [{ type: "string", maxLength: 5 }, "capstan://", false],
    [{ type: "path", under: "/a" }, "capstan://", false],
    [{ type: "range", min: 1, max: 10 }, "", false],
    [{ type: "each", of: { type: "any" }, max: 1 }, "", false],
    [JSON.parse('{"type":"regex","pattern":".*"}'), "", false],
    [{ type: "one_of", values: [] }, "", false],
  ])("%j on texts that begin with %j is %s", (rule, begun, expected) => {
    expect(mayAllowText(rule, begun)).toBe(expected);
  });
});

describe("resources as people write them", () => {
  test("stand for all below them", () => {
    expect(parseUriRule("*")).toEqual({ type: "any" });
    expect(parseUriRule("capstan://artifacts/")).toEqual(below("capstan://artifacts/"));
    expect(parseUriRule("capstan://artifacts/*")).toEqual(below("capstan://artifacts/"));
    expect(parseUriRule("capstan://artifacts")).toEqual(below("capstan://artifacts"));
    expect(parseUriRule("github+*")).toEqual(below("github+"));
  });

  test.each([
    "",
    "**",
    "/a",
    "artifacts",
    "capstan://art*",
    "x://*/a",
    "x://h/../a",
    "x://h/%2e%2e/",
    "x://h/\\a",
    "x://h/a\n",
  ])("%j names none", (text) => {
    expect(codeOf(() => parseUriRule(text))).toBe("usage.bad_option");
  });
});

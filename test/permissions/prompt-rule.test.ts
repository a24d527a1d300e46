import { describe, expect, test } from "vitest";
import { demand } from "../../src/permissions/demand.ts";
import { derive } from "../../src/permissions/derive.ts";
import { meet } from "../../src/permissions/meet.ts";
import { parsePrompt } from "../../src/permissions/prompt-rule.ts";
import { codeOf, root, sameAs, start } from "./grants.ts";

const holding = (...prompts: string[]) => root({ prompts });
const may = (entry: string, name: string): boolean =>
  codeOf(() => demand(holding(entry), [{ type: "prompt", name }], start)) === "allow";
const mayDerive = (parent: string, child: string): boolean =>
  codeOf(() => derive(holding(parent), sameAs(holding(child)), { id: "c", now: start })) === "allow";

describe("the right to prompts", () => {
  test("is to a name, or to every name that begins as the entry does before its star", () => {
    const names = ["github__review", "github__", "github", "gitlab__review", "*", ""];
    const allowed = (entry: string) => names.filter((name) => may(entry, name));
    expect(allowed("github__review")).toEqual(["github__review"]);
    expect(allowed("github__*")).toEqual(["github__review", "github__"]);
    expect(allowed("git*")).toEqual(["github__review", "github__", "github", "gitlab__review"]);
    expect(allowed("*")).toEqual(names);
    expect(allowed("*review")).toEqual([]);
  });

  test.each([
    ["*", "a", true],
    ["*", "a*", true],
    ["a*", "ab*", true],
    ["a*", "a", true],
    ["a*", "a**", true],
    ["a**", "a*", false],
    ["ab*", "a*", false],
    ["a*", "*", false],
    ["a", "a*", false],
    ["a", "b", false],
  ])("%j, derived as %j: %s", (parent, child, expected) => {
    expect(mayDerive(parent, child)).toBe(expected);
  });

  test("meets in what both allow", () => {
    const both = (a: string[], b: string[]) =>
      meet(holding(...a), { ...holding(...b), id: "t9" }, { now: start }).rights.prompts;
    expect(both(["*"], ["a", "b*"])).toEqual(["a", "b*"]);
    expect(both(["a*", "b"], ["ab*", "a", "c"])).toEqual(["ab*", "a"]);
    expect(both(["a", "a*"], ["a*", "a"])).toEqual(["a", "a*"]);
    expect(both(["a*"], ["b*"])).toEqual([]);
  });

  test("is written as a name or a beginning", () => {
    expect(["review", "github__*", "*"].map(parsePrompt)).toEqual(["review", "github__*", "*"]);
    for (const text of ["", "*a", "a*b", "**", "a".repeat(200)])
      expect(codeOf(() => parsePrompt(text))).toBe("usage.bad_option");
  });
});

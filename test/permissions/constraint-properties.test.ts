import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  checkConstraint,
  coversConstraint,
  isSatisfiable,
  mayAllowText,
  meetConstraints,
} from "../../src/permissions/constraint.ts";
import type { Constraint } from "../../src/permissions/grant.ts";
import { pureCases } from "../support/cases.ts";
import { constraint, patience, runs, valueWithin } from "./arbitraries.ts";

const withValue = (rule: Constraint) => valueWithin(rule).map((value) => ({ rule, value }));

describe("coversConstraint()", patience, () => {
  test("implies that what the child allows, the parent allows", () => {
    let covered = 0;
    let allowed = 0;
    const pair = fc.oneof(
      fc.tuple(constraint, constraint),
      fc.tuple(constraint, constraint).map(([parent, other]) => [parent, meetConstraints(parent, other)] as const),
    );
    const cases = pair.chain(([parent, child]) => withValue(child).map(({ value }) => ({ parent, child, value })));
    fc.assert(
      fc.property(cases, ({ parent, child, value }) => {
        if (!coversConstraint(parent, child)) return;
        covered++;
        if (!checkConstraint(child, value)) return;
        allowed++;
        expect(checkConstraint(parent, value)).toBe(true);
      }),
      runs,
    );
    expect(covered).toBeGreaterThan(pureCases / 2);
    expect(allowed).toBeGreaterThan(pureCases / 8);
  });

  test("covers each constraint by itself, so that a grant can have a child of its own size", () => {
    fc.assert(
      fc.property(constraint, (rule) => {
        expect(coversConstraint(rule, rule)).toBe(true);
      }),
      runs,
    );
  });
});

describe("meetConstraints()", patience, () => {
  test("lies within both, and allows no value that either denies", () => {
    let allowed = 0;
    const cases = fc
      .tuple(constraint, constraint)
      .chain(([a, b]) => withValue(meetConstraints(a, b)).map(({ rule, value }) => ({ a, b, met: rule, value })));
    fc.assert(
      fc.property(cases, ({ a, b, met, value }) => {
        expect(coversConstraint(a, met) && coversConstraint(b, met)).toBe(true);
        if (!checkConstraint(met, value)) return;
        allowed++;
        expect(checkConstraint(a, value) && checkConstraint(b, value)).toBe(true);
      }),
      runs,
    );
    expect(allowed).toBeGreaterThan(pureCases / 8);
  });

  test("keeps what two constraints of one kind both allow", () => {
    let both = 0;
    const cases = fc
      .tuple(constraint, constraint)
      .filter(([a, b]) => a.type === b.type && a.type !== "each")
      .chain(([a, b]) => withValue(a).map(({ value }) => ({ a, b, value })));
    fc.assert(
      fc.property(cases, ({ a, b, value }) => {
        if (!checkConstraint(a, value) || !checkConstraint(b, value)) return;
        both++;
        expect(checkConstraint(meetConstraints(a, b), value)).toBe(true);
      }),
      runs,
    );
    expect(both).toBeGreaterThan(pureCases / 8);
  });
});

describe("mayAllowText()", patience, () => {
  test("is true of every beginning of a text that the rule allows", () => {
    let asked = 0;
    const cases = constraint.chain(withValue).chain((one) => fc.nat(12).map((length) => ({ ...one, length })));
    fc.assert(
      fc.property(cases, ({ rule, value, length }) => {
        if (typeof value !== "string" || !checkConstraint(rule, value)) return;
        asked++;
        expect(mayAllowText(rule, value.slice(0, length))).toBe(true);
      }),
      runs,
    );
    expect(asked).toBeGreaterThan(pureCases / 8);
  });
});

describe("isSatisfiable()", patience, () => {
  test("is true of every rule that allows some value", () => {
    let allowed = 0;
    fc.assert(
      fc.property(constraint.chain(withValue), ({ rule, value }) => {
        if (!checkConstraint(rule, value)) return;
        allowed++;
        expect(isSatisfiable(rule)).toBe(true);
      }),
      runs,
    );
    expect(allowed).toBeGreaterThan(pureCases / 2);
  });
});

import * as fc from "fast-check";
import { z } from "zod";
import { checkConstraint, meetConstraints } from "../../src/permissions/constraint.ts";
import type { ArgumentRule, Constraint, Grant, GrantRequest, ToolRight } from "../../src/permissions/grant.ts";
import { Rights } from "../../src/permissions/grant.ts";
import { plainCases, pureCases } from "../support/cases.ts";
import { noRights, root } from "./grants.ts";

const scalars = [
  "a",
  "b",
  "c",
  "",
  1,
  2,
  3,
  2.5,
  true,
  false,
  null,
  "/srv/a/x",
  "https://b.a.org/x",
  "s+x://h/a",
] as const;
/** How a property of this room is run: the campaign's many cases take longer than a test may. */
export const runs = { numRuns: pureCases };
/** For what is to be granted; what must not be has all of them. */
export const plainRuns = { numRuns: plainCases };
export const patience = { timeout: 120_000 + 10 * pureCases };

const Scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const scalar = fc.constantFrom(...scalars);
const someScalars = fc.uniqueArray(scalar, { maxLength: 4 });
const part = fc.constantFrom("a", "b", "a-b", "..a", "%41", "x y");
const folder = fc.array(part, { maxLength: 3 }).map((parts) => `/${parts.join("/")}`);
const hostNames = [
  "a.org",
  "*.a.org",
  "b.a.org",
  "*.b.a.org",
  "a.org:8443",
  "*",
  "localhost",
  "[::1]",
  "8.8.8.8",
] as const;
const schemes = ["https", "http", "wss"] as const;

const uriBeginnings = [
  "s+",
  "s+x:",
  "s+x://",
  "s+x://h",
  "s+x://h:",
  "s+x://h/",
  "s+x://h/a",
  "s+x://h/a/b",
  "x://h?q=1",
] as const;
const uriEndings = [
  "",
  "x",
  "/",
  "/x",
  "?x",
  "#x",
  ":x@evil",
  ".evil/",
  "/../x",
  "/%2e%2e/x",
  "/%252e./x",
  "\\x",
] as const;

const urlRule = fc.record({
  hosts: fc.uniqueArray(fc.constantFrom(...hostNames), { minLength: 1, maxLength: 3 }),
  schemes: fc.uniqueArray(fc.constantFrom(...schemes), { minLength: 1 }),
  private: fc.boolean(),
});

const leaf: fc.Arbitrary<Constraint> = fc.oneof(
  fc.constant<Constraint>({ type: "any" }),
  scalar.map((value): Constraint => ({ type: "exact", value })),
  someScalars.map((values): Constraint => ({ type: "one_of", values })),
  fc
    .tuple(fc.integer({ min: -3, max: 3 }), fc.nat(4))
    .map(([min, more]): Constraint => ({ type: "range", min, max: min + more })),
  fc.nat(8).map((maxLength): Constraint => ({ type: "string", maxLength })),
  folder.map((under): Constraint => ({ type: "path", under })),
  fc.constantFrom(...uriBeginnings).map((under): Constraint => ({ type: "uri", under })),
  urlRule.map((rule): Constraint => ({ type: "url", ...rule })),
  someScalars.map((values): Constraint => ({ type: "subset", values })),
);

/** Constraints over a small world, so that two of them often have something to do with each other. */
export const constraint: fc.Arbitrary<Constraint> = fc.oneof(
  { weight: 4, arbitrary: leaf },
  {
    weight: 1,
    arbitrary: fc.tuple(leaf, fc.nat(3)).map(([of, max]): Constraint => ({ type: "each", of, max })),
  },
);

const anyValue: fc.Arbitrary<unknown> = fc.oneof(
  scalar,
  folder,
  fc.array(scalar, { maxLength: 3 }),
  fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, "5", "https://localhost/", "https://b.a.org:8443/", {}),
);

/** Values that a rule mostly allows, made from the rule itself. */
export function valueWithin(rule: Constraint): fc.Arbitrary<unknown> {
  switch (rule.type) {
    case "any":
      return anyValue;
    case "exact":
      return fc.constant(rule.value);
    case "one_of":
      return rule.values.length === 0 ? anyValue : fc.constantFrom(...rule.values);
    case "range":
      return rule.min <= rule.max ? fc.double({ min: rule.min, max: rule.max, noNaN: true }) : anyValue;
    case "string":
      return fc.string({ maxLength: rule.maxLength });
    case "path":
      return fc.array(part, { maxLength: 2 }).map((parts) => [rule.under, ...parts].join("/"));
    case "uri":
      return fc.constantFrom(...uriEndings).map((ending) => `${rule.under}${ending}`);
    case "url":
      return fc
        .tuple(fc.constantFrom(...rule.hosts), fc.constantFrom(...rule.schemes))
        .map(([host, scheme]) => `${scheme}://${host.replace(/^\*$/, "any.test").replace("*", "q")}/path`);
    case "each":
      return fc.array(valueWithin(rule.of), { maxLength: rule.max });
    case "subset":
      return fc.subarray([...rule.values]);
    default:
      return anyValue;
  }
}

const names = ["a", "b", "c"] as const;
const name = fc.constantFrom(...names);
const byName = { selector: (item: { readonly name: string }) => item.name };

const argument: fc.Arbitrary<ArgumentRule> = fc.record({ name, rule: constraint, optional: fc.boolean() });
const toolRight: fc.Arbitrary<ToolRight> = fc
  .record({
    name,
    pin: fc.constantFrom("p1", "p2"),
    args: fc.option(fc.uniqueArray(argument, { ...byName, maxLength: 3 }), { nil: undefined }),
    ask: fc.boolean(),
    tainted: fc.boolean(),
  })
  .map(({ args, ...others }) => (args === undefined ? others : { ...others, args }));

const folders = fc.uniqueArray(folder, { maxLength: 3 });
const someNames = fc.uniqueArray(name);
const somePrompts = fc.uniqueArray(fc.constantFrom("a", "b", "ab", "a*", "ab*", "a**", "*"), { maxLength: 3 });
const rights: fc.Arbitrary<Rights> = fc.record({
  tools: fc.uniqueArray(toolRight, { ...byName, maxLength: 3 }),
  resources: fc.array(constraint, { maxLength: 2 }),
  prompts: somePrompts,
  read: folders,
  write: folders,
  net: fc.array(urlRule, { maxLength: 2 }),
  runs: fc.uniqueArray(fc.constantFrom<Rights["runs"]>("create", "read", "resume", "cancel")),
  sessions: fc.oneof(someNames, fc.constant<string[]>(["*"])),
  approve: someNames,
  isolation: fc.constantFrom<Rights["isolation"][]>("wasm-in-thread", "wasm-in-child", "os-sandbox"),
});

const limit = fc.option(fc.nat(10), { nil: undefined });
const limits = fc
  .record({ calls: limit, tokens: limit, depth: limit, parallel: limit })
  .map((some): Grant["limits"] => JSON.parse(JSON.stringify(some)));

export const grant: fc.Arbitrary<Grant> = fc
  .tuple(rights, limits, fc.nat(8), fc.constantFrom(undefined, undefined, "run1", "run2"))
  .map(([held, capped, delegations, run]) =>
    root(held, { limits: capped, delegations, ...(run === undefined ? {} : { run }) }),
  );

/** A list with some of its items left out and the others made smaller. */
const someOf = <T>(items: readonly T[], smaller: (item: T) => fc.Arbitrary<T> = fc.constant): fc.Arbitrary<T[]> =>
  fc.subarray([...items]).chain((kept) => fc.tuple(...kept.map(smaller)));

const smallerRule = (rule: Constraint): fc.Arbitrary<Constraint> =>
  fc.oneof(
    fc.constant(rule),
    constraint.map((other) => meetConstraints(rule, other)),
    valueWithin(rule).map((value): Constraint => {
      const scalarValue = Scalar.safeParse(value);
      return scalarValue.success && checkConstraint(rule, value) ? { type: "exact", value: scalarValue.data } : rule;
    }),
  );

const smallerTool = (right: ToolRight): fc.Arbitrary<ToolRight> => {
  const { args: held } = right;
  const flags = fc
    .tuple(fc.boolean(), fc.boolean())
    .map(([ask, tainted]) => ({ ...right, ask: right.ask || ask, tainted: right.tainted && tainted }));
  if (held === undefined) return flags;
  const rules = fc.tuple(...held.map((one) => smallerRule(one.rule).map((rule) => ({ ...one, rule }))));
  return fc.tuple(flags, rules).map(([smaller, args]) => ({ ...smaller, args }));
};

/** Requests that ask for no more than the parent has, each part smaller in its own way. */
export function smallerThan(parent: Grant): fc.Arbitrary<GrantRequest> {
  const { rights: held } = parent;
  return fc
    .record({
      tools: someOf(held.tools, smallerTool),
      read: someOf(held.read, (folderName) => part.map((below) => `${folderName}/${below}`)),
      write: someOf(held.write),
      prompts: someOf(held.prompts, (entry) =>
        fc.constantFrom(entry, entry.replace(/\*$/, "z"), entry.replace(/\*$/, "z*")),
      ),
      net: someOf(held.net),
      runs: someOf(held.runs),
      approve: someOf(held.approve),
      resources: someOf(held.resources, smallerRule),
    })
    .map((kept) => ({
      rights: { ...noRights, isolation: held.isolation, sessions: held.sessions, ...kept },
      limits: parent.limits,
      expiresAt: parent.expiresAt,
      delegations: Math.max(0, parent.delegations - 1),
      ...(parent.run === undefined ? {} : { run: parent.run }),
    }));
}

const rightKeys = Rights.keyof().options;

/** A request that may ask for anything: mostly of the parent, in part of another grant. */
export const mixedRequest = (parent: Grant): fc.Arbitrary<GrantRequest> =>
  fc.tuple(smallerThan(parent), rights, limits, fc.nat(20)).map(([request, other, otherLimits, dice]) => {
    const key = rightKeys[dice];
    if (key !== undefined) return { ...request, rights: { ...request.rights, [key]: other[key] } };
    return dice === 10 ? { ...request, limits: otherLimits } : request;
  });

/** Calls that a grant mostly allows, made from its own constraints; null for a grant without tools. */
export function callWithin(
  of: Grant,
): fc.Arbitrary<{ name: string; pin: string; args: Record<string, unknown> } | null> {
  if (of.rights.tools.length === 0) return fc.constant(null);
  return fc
    .constantFrom(...of.rights.tools)
    .chain(({ name: tool, pin, args = [{ name: "z", rule: { type: "any" }, optional: true }] }) =>
      fc
        .tuple(
          ...args.map((one) =>
            fc
              .tuple(valueWithin(one.rule), fc.boolean())
              .map(([value, leaveOut]) => (one.optional && leaveOut ? [] : [[one.name, value] as const])),
          ),
        )
        .map((entries) => ({ name: tool, pin, args: Object.fromEntries(entries.flat()) })),
    );
}

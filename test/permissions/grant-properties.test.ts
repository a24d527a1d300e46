import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { demand, findRight, mustAsk } from "../../src/permissions/demand.ts";
import { derive } from "../../src/permissions/derive.ts";
import type { Constraint, Grant, Need } from "../../src/permissions/grant.ts";
import { meet } from "../../src/permissions/meet.ts";
import { narrow } from "../../src/permissions/narrow.ts";
import { plainCases, pureCases } from "../support/cases.ts";
import { callWithin, grant, mixedRequest, patience, plainRuns, runs, smallerThan } from "./arbitraries.ts";
import { codeOf, start as now } from "./grants.ts";

interface Call {
  readonly name: string;
  readonly pin: string;
  readonly args: Record<string, unknown>;
}

const isAllowed = (of: Grant, need: Need): boolean => codeOf(() => demand(of, [need], now)) === "allow";

/** Everything but tool calls that a grant names, as needs that it allows itself. */
function otherNeeds({ rights, delegations }: Grant): Need[] {
  return [
    ...rights.read.map((folder): Need => ({ type: "read", path: `${folder}/x` })),
    ...rights.write.map((folder): Need => ({ type: "write", path: `${folder}/x` })),
    ...rights.net.flatMap(({ hosts, schemes }) =>
      hosts.flatMap((host) =>
        schemes.map((scheme): Need => ({ type: "net", url: `${scheme}://${host.replace("*.", "q.")}/` })),
      ),
    ),
    ...rights.prompts
      .flatMap((entry) => ["", "z", "*z"].map((more) => entry.replace(/\*$/, more)))
      .map((promptName): Need => ({ type: "prompt", name: promptName })),
    ...rights.resources.flatMap(urisOf).map((uri): Need => ({ type: "resource", uri })),
    ...rights.runs.map((action): Need => ({ type: "run", action, runId: "run1" })),
    ...rights.sessions.map((name): Need => ({ type: "session", name })),
    ...rights.approve.map((tool): Need => ({ type: "approve", tool })),
    { type: "isolation", level: rights.isolation },
    ...(delegations > 0 ? [{ type: "delegate" } as const] : []),
  ];
}

function urisOf(rule: Constraint): readonly string[] {
  if (rule.type === "uri") return ["", "x", "/x", "?x", ":x"].map((ending) => `${rule.under}${ending}`);
  const values = rule.type === "exact" ? [rule.value] : rule.type === "one_of" ? rule.values : ["x://h/a", "/srv/a/x"];
  return values.filter((value) => typeof value === "string");
}

/** Whether a call passes and whether it passes without asking, in the four situations that there are. */
function silences(of: Grant, name: string, pin: string): boolean[] {
  const right = findRight(of, name, pin);
  if (right === null) return [false, false, false, false];
  return [true, false].flatMap((sink) => [["files"], []].map((taint) => !mustAsk(right, sink, taint)));
}

/** What `small` allows and `large` does not, of a call and of all that `small` names; `[]` when it lies within. */
function excess(small: Grant, large: Grant, call: Call | null): unknown[] {
  const needs: Need[] = call === null ? otherNeeds(small) : [...otherNeeds(small), { type: "tool", ...call }];
  const more = needs.filter((need) => isAllowed(small, need) && !isAllowed(large, need));
  if (call === null || !isAllowed(small, { type: "tool", ...call })) return more;
  const above = silences(large, call.name, call.pin);
  return silences(small, call.name, call.pin).some((silent, at) => silent && above[at] !== true)
    ? [...more, "silence"]
    : more;
}

/** The grant that is made; null where none is, as its makers refuse. */
function madeBy(make: () => Grant): Grant | null {
  let made: Grant | null = null;
  codeOf(() => (made = make()));
  return made;
}

const passes = (of: Grant, call: Call | null): boolean => call !== null && isAllowed(of, { type: "tool", ...call });

describe("derive()", patience, () => {
  test("never allows what the parent denies", () => {
    let derived = 0;
    let refused = 0;
    let allowed = 0;
    const cases = grant
      .filter(({ delegations }) => delegations > 0)
      .chain((parent) => mixedRequest(parent).map((request) => ({ parent, request })))
      .chain(({ parent, request }) => {
        const child = madeBy(() => derive(parent, request, { id: "child", now }));
        return (child === null ? fc.constant(null) : callWithin(child)).map((call) => ({ parent, child, call }));
      });
    fc.assert(
      fc.property(cases, ({ parent, child, call }) => {
        if (child === null) {
          refused++;
          return;
        }
        derived++;
        if (passes(child, call)) allowed++;
        expect(excess(child, parent, call)).toEqual([]);
        const limits = new Map(Object.entries(child.limits));
        expect(
          Object.entries(parent.limits).filter(([name, cap]) => !((limits.get(name) ?? Infinity) <= (cap ?? 0))),
        ).toEqual([]);
        expect(Object.isFrozen(child.rights.tools)).toBe(true);
      }),
      runs,
    );
    expect(derived).toBeGreaterThan(pureCases / 2);
    expect(refused).toBeGreaterThan(pureCases / 50);
    expect(allowed).toBeGreaterThan(pureCases / 6);
  });

  test("grants every request that only makes smaller", () => {
    const cases = grant
      .filter(({ delegations }) => delegations > 0)
      .chain((parent) => smallerThan(parent).map((request) => ({ parent, request })));
    fc.assert(
      fc.property(cases, ({ parent, request }) => {
        expect(derive(parent, request, { id: "child", now }).rights).toEqual(request.rights);
      }),
      plainRuns,
    );
  });
});

describe("meet()", patience, () => {
  test("allows no more than either", () => {
    let met = 0;
    let allowed = 0;
    const related = grant.chain((a) => smallerThan(a).map((b) => ({ a, b: { ...a, ...b, id: "t9" } })));
    const pair = fc.oneof(
      fc.tuple(grant, grant).map(([a, b]) => ({ a, b: { ...b, id: "t9" } })),
      related,
    );
    const cases = pair.chain(({ a, b }) => {
      const both = madeBy(() => meet(a, b, { now }));
      return (both === null ? fc.constant(null) : callWithin(both)).map((call) => ({ a, b, both, call }));
    });
    fc.assert(
      fc.property(cases, ({ a, b, both, call }) => {
        if (both === null) return;
        met++;
        if (passes(both, call)) allowed++;
        expect(excess(both, a, call)).toEqual([]);
        expect(excess(both, b, call)).toEqual([]);
        expect(both.ancestors.map(({ id }) => id)).toEqual(["t0", "t9"]);
        expect(both.delegations).toBe(Math.min(a.delegations, b.delegations));
      }),
      runs,
    );
    expect(met).toBeGreaterThan(pureCases / 2);
    expect(allowed).toBeGreaterThan(pureCases / 10);
  });

  test("with itself allows what the grant allows", () => {
    let allowed = 0;
    const cases = grant.chain((one) => callWithin(one).map((call) => ({ one, call })));
    fc.assert(
      fc.property(cases, ({ one, call }) => {
        if (!passes(one, call)) return;
        allowed++;
        expect(passes(meet(one, { ...one, id: "t9" }, { now }), call)).toBe(true);
      }),
      plainRuns,
    );
    expect(allowed).toBeGreaterThan(plainCases / 4);
  });
});

/** The names of the tools that don't ask after untrusted content. */
const freeOf = (tools: Grant["rights"]["tools"]): string[] =>
  tools.filter(({ tainted }) => tainted).map(({ name }) => name);

describe("narrow()", patience, () => {
  test("asks for what derive() grants, whatever is left out of what the parent has", () => {
    const cases = grant
      .filter(({ delegations }) => delegations > 0)
      .chain((parent) => {
        const { rights } = parent;
        const names = rights.tools.map(({ name }) => name);
        const options = fc.record(
          {
            allow: fc.subarray(names),
            tainted: fc.subarray([...freeOf(rights.tools)]),
            read: fc.subarray([...rights.read]).map((folders) => folders.map((folder) => `${folder}/below`)),
            write: fc.subarray([...rights.write]),
            approve: fc.subarray([...rights.approve]),
            runs: fc.subarray([...rights.runs]),
            ttlMs: fc.nat(100_000_000),
            calls: fc.nat(parent.limits.calls ?? 10),
            delegations: fc.nat(parent.delegations - 1),
          },
          { requiredKeys: [] },
        );
        return options.map(({ tainted, ...others }) => {
          const { allow = names } = others;
          const free = tainted?.filter((name) => allow.includes(name));
          return { parent, allow, chosen: free === undefined ? others : { ...others, tainted: free } };
        });
      });
    fc.assert(
      fc.property(cases, ({ parent, allow, chosen }) => {
        const child = derive(parent, narrow(parent, chosen, [], now), { id: "child", now });
        expect(child.rights.tools.map(({ name }) => name)).toEqual(allow);
        const kept = freeOf(parent.rights.tools).filter((name) => allow.includes(name));
        expect(freeOf(child.rights.tools)).toEqual("tainted" in chosen ? chosen.tainted : kept);
        expect(child.limits.calls).toBe(chosen.calls ?? parent.limits.calls);
      }),
      plainRuns,
    );
  });
});

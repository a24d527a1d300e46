import { describe, expect, test } from "vitest";
import { demand, findRight, mustAsk } from "../../src/permissions/demand.ts";
import { derive } from "../../src/permissions/derive.ts";
import type { Grant, GrantRequest } from "../../src/permissions/grant.ts";
import { meet } from "../../src/permissions/meet.ts";
import { narrow } from "../../src/permissions/narrow.ts";
import { codeOf, minute, right, root, sameAs, start, t0, t1, t2 } from "./grants.ts";

/** A request as it comes from outside, where no type holds it; the text "1e309" stands for that number. */
function forge(request: unknown): GrantRequest {
  return JSON.parse(JSON.stringify(request).replaceAll('"1e309"', "1e309"));
}

type Arguments = Readonly<Record<string, unknown>>;

/** The tools of the examples that send something out. */
const sinks = new Set(["mail/send", "net/fetch"]);

/** Decides as the door does, up to the approval: `ask` is what an approval would release. */
function decide(grant: Grant, name: string, args: Arguments, taint: readonly string[] = []): string {
  const code = codeOf(() => demand(grant, [{ type: "tool", name, pin: "p1", args }], start));
  if (code !== "allow") return code;
  const found = findRight(grant, name, "p1");
  return found !== null && mustAsk(found, sinks.has(name), taint) ? "ask" : code;
}

const refused = "permission.argument_refused";
const noRight = "permission.no_right";
const src = "/srv/project/src";

describe("demand() on the calls of the table of attacks", () => {
  test.each<[number, Grant, string, Arguments]>([
    [1, t1, "fs/read", { path: `${src}/a.ts` }],
    [2, t2, "fs/read", { path: `${src}/lib/x.ts` }],
    [3, t1, "net/fetch", { url: "https://api.github.com/repos" }],
    [4, t0, "net/fetch", { url: "https://cdn.example.org/x" }],
    [23, t1, "fs/move", { from: `${src}/a`, to: `${src}/b` }],
    [24, t1, "fs/list", { paths: [src, `${src}/lib`] }],
    [27, t1, "kg/search", { graph: "g1", query: "x", limit: 5 }],
    [29, t1, "code/run", { language: "python", code: "1", cpu_ms: 5000 }],
  ])("%i: allows the lawful call", (_, grant, name, args) => {
    expect(decide(grant, name, args)).toBe("allow");
  });

  test("5: code runs on tainted text, since a sandbox is no sink; a sink asks", () => {
    expect(decide(t1, "code/run", { language: "python", code: "1" }, ["files"])).toBe("allow");
    expect(decide(t1, "net/fetch", { url: "https://api.github.com/" }, ["files"])).toBe("ask");
    expect(decide(t1, "net/fetch", { url: "https://api.github.com/" })).toBe("allow");
  });

  test.each<[number, Grant, string, Arguments, string]>([
    [8, t1, "fs/write", { path: `${src}/a` }, noRight],
    [9, t1, "__proto__", {}, noRight],
    [9, t1, "toString", {}, noRight],
    [11, t1, "FS/READ", { path: `${src}/a.ts` }, noRight],
    [12, t1, "evil/read", { path: `${src}/a.ts` }, noRight],
    [14, t1, "fs/read", { path: "/srv/project/secret.env" }, refused],
    [15, t1, "fs/read", { path: `${src}/../secret.env` }, refused],
    [17, t1, "fs/read", { path: `${src}/%2e%2e/secret` }, refused],
    [17, t1, "fs/read", { path: `${src}/%252e%252e/secret` }, refused],
    [17, t1, "fs/read", { path: `${src}/..%2fsecret` }, refused],
    [18, t1, "fs/read", { path: `${src}/a\0.txt` }, refused],
    [20, t1, "fs/read", { path: [`${src}/a`] }, refused],
    [21, t1, "fs/read", { path: `${src}/a`, follow_symlinks: true }, "permission.argument_not_granted"],
    [21, t1, "fs/read", JSON.parse(`{"path":"${src}/a","__proto__":1}`), "permission.argument_not_granted"],
    [23, t1, "fs/move", { from: `${src}/a`, to: "/etc/cron.d/x" }, refused],
    [24, t1, "fs/list", { paths: [src, "/etc"] }, refused],
    [26, t1, "kg/search", { graph: "g1", query: "x", limit: Number.NaN }, refused],
    [27, t1, "kg/search", { graph: "g1", query: "x", limit: "5" }, refused],
    [27, t1, "kg/search", { graph: "g1", query: "x", limit: [5] }, refused],
    [29, t1, "code/run", { language: "python", code: "1", cpu_ms: 999_999 }, refused],
    [29, t1, "code/run", { language: "python", code: "1", cpu_ms: Number.POSITIVE_INFINITY }, refused],
    [30, t1, "net/fetch", { url: "https://evil.test/x" }, refused],
    [32, t1, "net/fetch", { url: "https://api.github.com@evil.test/" }, refused],
    [33, t1, "net/fetch", { url: "http://api.github.com/" }, refused],
    [35, t1, "net/fetch", { url: "https://2852039166/" }, refused],
    [36, t1, "net/fetch", { url: "https://[::ffff:169.254.169.254]/" }, refused],
    [38, t1, "net/fetch", { url: "https://cdn.example.org/x" }, refused],
    [39, t1, "net/fetch", { url: "file:///etc/passwd" }, refused],
    [41, t0, "net/fetch", { url: "https://example.org.evil.test" }, refused],
    [42, t0, "net/fetch", { url: "https://evilexample.org" }, refused],
    [44, t1, "mail/send", { to: "a@corp.test", text: "hello" }, "ask"],
    [45, t1, "mail/send", { to: "eve@evil.test", text: "hello" }, refused],
  ])("%i: denies", (_, grant, name, args, expected) => {
    expect(decide(grant, name, args)).toBe(expected);
  });

  test("a refusal is the same for what exists and for what does not", () => {
    const textOf = (path: string): string => {
      try {
        demand(t1, [{ type: "read", path }], start);
        return "allowed";
      } catch (thrown) {
        return String(thrown).replaceAll(path, "PATH");
      }
    };
    expect(textOf("/etc/passwd")).toBe(textOf("/etc/passwe"));
    expect(textOf("/etc/passwd")).toMatch(/ --root PATH$/);
  });
});

describe("derive() on the widenings of the table of attacks", () => {
  const read = (under: string) => ({ name: "path", rule: { type: "path", under }, optional: false }) as const;
  const withRead = (path: object): unknown => ({
    ...sameAs(t1),
    rights: { ...t1.rights, tools: [{ name: "fs/read", pin: "p1", args: [path], ask: false, tainted: false }] },
  });
  const withTool = (name: string, over: object): unknown => ({
    ...sameAs(t1),
    rights: {
      ...t1.rights,
      tools: t1.rights.tools.filter((tool) => tool.name === name).map((tool) => ({ ...tool, ...over })),
    },
  });
  const withLimits = (limits: object): unknown => ({ ...sameAs(t1), limits: { ...t1.limits, ...limits } });
  const host = { name: "host/mint", pin: "p1", ask: false, tainted: false };

  test.each<[number, string, unknown]>([
    [47, "rights.tools.fs/read.args.path", withRead(read("/srv"))],
    [47, "rights.tools.fs/read.args.path", withRead(read("/srv/project/src-evil"))],
    [48, "rights.tools.fs/read.args.path", withRead(read(`${src}/../..`))],
    [50, "rights.tools.fs/read.args.path", withRead({ name: "path", rule: { type: "any" }, optional: false })],
    [50, "rights.tools.fs/read.args.path", withRead({ ...read(src), optional: true })],
    [50, "rights.tools.fs/read.args", withTool("fs/read", { args: undefined })],
    [50, "rights.tools.fs/read.args.path", withTool("fs/read", { args: [] })],
    [50, "rights.tools.fs/read.args.all", withTool("fs/read", { args: [read(src), { ...read(src), name: "all" }] })],
    [53, "rights.tools.mail/send.ask", withTool("mail/send", { ask: false })],
    [54, "rights.tools.net/fetch.tainted", withTool("net/fetch", { tainted: true })],
    [54, "rights.tools.net/fetch.pin", withTool("net/fetch", { pin: "p2" })],
    [56, "limits.costMicroUsd", { ...sameAs(t1), limits: { calls: 20, tokens: 50_000 } }],
    [57, "limits.calls", withLimits({ calls: -1 })],
    [57, "limits.calls", withLimits({ calls: "1e309" })],
    [57, "limits.calls", withLimits({ calls: 21 })],
    [57, "limits.calls", withLimits({ calls: 1.5 })],
    [59, "rights.tools.host/mint", { ...sameAs(t1), rights: { ...t1.rights, tools: [host] } }],
    [59, "rights.read", { ...sameAs(t1), rights: { ...t1.rights, read: ["/srv/project"] } }],
    [59, "rights.write", { ...sameAs(t1), rights: { ...t1.rights, write: [src] } }],
    [59, "rights.net", { ...sameAs(t1), rights: { ...t1.rights, net: t0.rights.net } }],
    [59, "rights.runs", { ...sameAs(t1), rights: { ...t1.rights, runs: ["cancel"] } }],
    [59, "rights.sessions", { ...sameAs(t1), rights: { ...t1.rights, sessions: ["*"] } }],
    [59, "rights.approve", { ...sameAs(t1), rights: { ...t1.rights, approve: ["fs/read"] } }],
    [59, "rights.prompts", { ...sameAs(t1), rights: { ...t1.rights, prompts: ["p"] } }],
    [59, "rights.resources", { ...sameAs(t1), rights: { ...t1.rights, resources: [{ type: "any" }] } }],
    [59, "expiresAt", { ...sameAs(t1), expiresAt: t1.expiresAt + 1 }],
    [59, "delegations", { ...sameAs(t1), delegations: t1.delegations }],
    [59, "run", { ...sameAs(t1), run: "run2" }],
    [59, "run", { ...sameAs(t1), run: undefined }],
  ])("%i: refuses a wider %s", (_, part, request) => {
    expect(() => derive(t1, forge(request), { id: "x", now: start })).toThrow(
      expect.objectContaining({ code: "permission.widen", details: { part } }),
    );
  });

  test("51: refuses a constraint of an unknown kind, also within another", () => {
    for (const kind of [
      { type: "regex", of: ".*" },
      { type: "__proto__" },
      { type: "each", max: 1, of: { type: "glob" } },
    ]) {
      const request = withRead({ name: "path", rule: kind, optional: false });
      expect(codeOf(() => derive(t1, forge(request), { id: "x", now: start }))).toBe("permission.unknown_constraint");
    }
  });

  test("47 to 59: grants a child of the same size and a smaller one", () => {
    expect(derive(t1, sameAs(t1), { id: "x", now: start }).rights).toEqual(t1.rights);
    const child = derive(t1, forge(withRead(read(`${src}/lib`))), { id: "x", now: start });
    expect(decide(child, "fs/read", { path: `${src}/lib/a` })).toBe("allow");
    expect(decide(child, "fs/read", { path: `${src}/a` })).toBe(refused);
  });

  test("57: a child can't give its runs more time than its parent has left", () => {
    const ask = (parent: Grant, over: object): string =>
      codeOf(() => derive(parent, forge({ ...sameAs(parent), ...over }), { id: "x", now: start }));
    const long = { limits: { ...t1.limits, runMs: 60 * minute } };
    expect(ask(t1, long)).toBe("permission.widen");
    expect(ask(t1, { limits: { ...t1.limits, runMs: 5 * minute } })).toBe("permission.widen");
    expect(ask(t1, { limits: { ...t1.limits, runMs: 5 * minute }, expiresAt: start + 5 * minute })).toBe("allow");
    const generous = { ...t1, limits: { ...t1.limits, runMs: 60 * minute } };
    expect(ask(generous, long)).toBe("allow");
    expect(ask(generous, { limits: { ...t1.limits, runMs: 61 * minute } })).toBe("permission.widen");
    expect(ask(generous, { limits: t1.limits })).toBe("permission.widen");
  });

  test("59: a grant that may not be handed on, and one that has ended, have no children", () => {
    const request = { ...sameAs(t2), delegations: 0 };
    expect(codeOf(() => derive(t2, request, { id: "x", now: start }))).toBe("permission.widen");
    expect(codeOf(() => derive(t1, sameAs(t1), { id: "x", now: t1.expiresAt }))).toBe("token.expired");
  });

  test("B48: what is asked for by name beyond the grant is refused, not dropped", () => {
    const parent = { ...t2, delegations: 1 };
    const tools = [{ name: "fs/write", pin: "p1", argumentNames: ["path"] }];
    const make = (options: Parameters<typeof narrow>[1]): string =>
      codeOf(() => derive(parent, narrow(parent, options, tools, start), { id: "x", now: start }));
    expect(make({ allow: ["fs/write"] })).toBe("permission.widen");
    expect(make({ read: ["/srv"] })).toBe("permission.widen");
    expect(make({ hosts: ["api.github.com"] })).toBe("permission.widen");
    expect(make({ calls: 4 })).toBe("permission.widen");
    expect(make({ allow: ["fs/read"], read: [`${src}/lib/a`], calls: 2 })).toBe("allow");
  });

  test("54: nobody frees a tool of asking after untrusted content for whom it asks", () => {
    const free = right("mail/send", undefined, { tainted: true });
    const parent = { ...t0, rights: { ...t0.rights, tools: [free, right("net/fetch")] } };
    const tools = [free, right("net/fetch")].map((tool) => ({ ...tool, argumentNames: [] }));
    const make = (options: Parameters<typeof narrow>[1]): Grant =>
      derive(parent, narrow(parent, options, tools, start), { id: "x", now: start });
    const args = { to: "a@corp.test", text: "hello" };
    expect(decide(make({ tainted: ["mail/send"] }), "mail/send", args, ["files"])).toBe("allow");
    expect(decide(make({ tainted: [] }), "mail/send", args, ["files"])).toBe("ask");
    expect(codeOf(() => make({ tainted: ["net/fetch"] }))).toBe("permission.widen");
    expect(codeOf(() => make({ allow: ["net/*"], tainted: ["net/*"] }))).toBe("usage.bad_option");
    const all = make({ tainted: ["*"] });
    expect(decide(all, "net/fetch", {}, ["files"])).toBe("ask");
    // One half of a meet frees nothing that the other does not.
    expect(decide(meet(all, { ...t0, id: "y" }, { now: start }), "mail/send", args, ["files"])).toBe("ask");
  });
});

describe("a grant outside its own place", () => {
  test("74: is refused for another run", () => {
    const resume = (runId: string): string =>
      codeOf(() => demand(t1, [{ type: "run", action: "resume", runId }], start));
    expect(resume("run1")).toBe("allow");
    expect(resume("run2")).toBe("token.other_run");
    expect(codeOf(() => meet(t1, { ...t1, id: "y", run: "run2" }, { now: start }))).toBe("token.other_run");
  });

  test("75: does not meet a grant of another organization, project or user", () => {
    const others: Partial<Grant>[] = [
      { scope: { org: "org2", project: "p" } },
      { scope: { org: "org1", project: "q" } },
      { principal: { org: "org1", user: "eve" } },
    ];
    for (const other of others) {
      expect(codeOf(() => meet(t0, root({}, { id: "y", ...other }), { now: start }))).toBe("token.other_scope");
    }
    expect(codeOf(() => meet(t0, root({}, { id: "y" }), { now: start }))).toBe("allow");
  });
});

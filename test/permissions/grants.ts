import { join } from "node:path";
import type { Clock } from "../../src/core/clock.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { ErrorCode } from "../../src/core/error.ts";
import { CapstanError } from "../../src/core/error.ts";
import { derive } from "../../src/permissions/derive.ts";
import type { ArgumentRule, Constraint, Grant, GrantRequest, Rights, ToolRight } from "../../src/permissions/grant.ts";
import { openKeys } from "../../src/permissions/keys.ts";
import { openPermissions } from "../../src/permissions/open-permissions.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { tempFolder } from "../support/temp.ts";

export const start = Date.UTC(2026, 0, 1, 12);
export const minute = 60_000;
export const scope = { org: "org1", project: "p" };
export const principal = { org: "org1", user: "ann" };

export const noRights: Rights = {
  tools: [],
  resources: [],
  prompts: [],
  read: [],
  write: [],
  net: [],
  runs: [],
  sessions: [],
  approve: [],
  isolation: "wasm-in-thread",
};

export const rule = (name: string, constraint: Constraint): ArgumentRule => ({
  name,
  rule: constraint,
  optional: false,
});
export const optional = (name: string, constraint: Constraint): ArgumentRule => ({
  name,
  rule: constraint,
  optional: true,
});
export const right = (name: string, args?: ArgumentRule[], flags: Partial<ToolRight> = {}): ToolRight => ({
  name,
  pin: "p1",
  ...(args === undefined ? {} : { args }),
  ask: false,
  tainted: false,
  ...flags,
});

/** A root grant of a user: an hour long, with the rights that are given. */
export function root(rights: Partial<Rights> = {}, over: Partial<Grant> = {}): Grant {
  return {
    id: "t0",
    ancestors: [],
    principal,
    scope,
    issuedAt: start,
    notBefore: start,
    expiresAt: start + 60 * minute,
    epoch: 0,
    delegations: 3,
    rights: { ...noRights, ...rights },
    limits: {},
    ...over,
  };
}

/** What a grant would have to ask for to have a child like itself. */
export const sameAs = ({ rights, limits, expiresAt, delegations, run }: Grant): GrantRequest => ({
  rights,
  limits,
  expiresAt,
  delegations: delegations - 1,
  ...(run === undefined ? {} : { run }),
});

const under = (folder: string): Constraint => ({ type: "path", under: folder });
const hosts = (...names: string[]): Constraint => ({ type: "url", hosts: names, schemes: ["https"], private: false });
const oneOf = (...values: string[]): Constraint => ({ type: "one_of", values });

function exampleTools(folder: string, hostNames: string[], cpuMs: number): ToolRight[] {
  return [
    right("fs/read", [rule("path", under(folder))]),
    right("fs/list", [rule("paths", { type: "each", of: under(folder), max: 20 })]),
    right("fs/move", [rule("from", under(folder)), rule("to", under(folder))]),
    right("net/fetch", [rule("url", hosts(...hostNames))]),
    right("kg/search", [
      rule("graph", oneOf("g1", "g2")),
      rule("query", { type: "string", maxLength: 200 }),
      optional("limit", { type: "range", min: 1, max: 50 }),
    ]),
    right("code/run", [
      rule("language", oneOf("python", "javascript")),
      rule("code", { type: "string", maxLength: 10_000 }),
      optional("cpu_ms", { type: "range", min: 1, max: cpuMs }),
    ]),
    right("mail/send", [rule("to", oneOf("a@corp.test")), rule("text", { type: "any" })], { ask: true }),
  ];
}

/** The three tokens of the tables of attacks: a user's root grant, the run's, and that of sandboxed code. */
export const t0 = root(
  {
    tools: [...exampleTools("/srv/project", ["api.github.com", "*.example.org"], 10_000), right("host/mint")],
    read: ["/srv/project"],
    net: [{ hosts: ["api.github.com", "*.example.org"], schemes: ["https"], private: false }],
    approve: ["mail/send"],
    runs: ["create", "read", "resume"],
  },
  { limits: { calls: 100, costMicroUsd: 5_000_000, tokens: 100_000 } },
);
export const t1 = derive(
  t0,
  {
    rights: {
      ...t0.rights,
      tools: exampleTools("/srv/project/src", ["api.github.com"], 5_000),
      read: ["/srv/project/src"],
      net: [{ hosts: ["api.github.com"], schemes: ["https"], private: false }],
    },
    limits: { calls: 20, costMicroUsd: 1_000_000, tokens: 50_000 },
    expiresAt: start + 10 * minute,
    delegations: 2,
    run: "run1",
  },
  { id: "t1", now: start },
);
export const t2 = derive(
  t1,
  {
    rights: {
      ...noRights,
      tools: [right("fs/read", [rule("path", under("/srv/project/src/lib"))])],
      read: ["/srv/project/src/lib"],
    },
    limits: { calls: 3, costMicroUsd: 0, tokens: 0 },
    expiresAt: start + minute / 2,
    delegations: 0,
    run: "run1",
  },
  { id: "t2", now: start },
);

/** The code that `act` throws; `"allow"` when it throws nothing. Anything but a CapstanError fails the test. */
export function codeOf(act: () => unknown): ErrorCode | "allow" {
  try {
    act();
    return "allow";
  } catch (thrown) {
    if (thrown instanceof CapstanError) return thrown.code;
    throw thrown;
  }
}

/** As `codeOf`, for what answers later. */
export async function codeOfAsync(act: () => Promise<unknown>): Promise<ErrorCode | "allow"> {
  try {
    await act();
    return "allow";
  } catch (thrown) {
    if (thrown instanceof CapstanError) return thrown.code;
    throw thrown;
  }
}

/** A home with keys, a real store and permissions; `fourEyes` as in the config. */
export async function openTestHome(options: { clock?: Clock; fourEyes?: boolean; home?: string } = {}) {
  const { clock = systemClock, fourEyes = false } = options;
  await using opened = new AsyncDisposableStack();
  const home = options.home ?? opened.use(await tempFolder()).path;
  const keys = await openKeys(home);
  const store = opened.use(await openSqliteStore({ path: join(home, "state.db"), clock }));
  const permissions = opened.use(await openPermissions({ home, store, clock, scope, fourEyes }));
  const owned = opened.move();
  return { home, keys, store, permissions, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

import assert from "node:assert/strict";
import { CapstanError, derive, narrow, newId, openApp, operatorGrant } from "../../src/index.ts";
import { temporaryHome } from "../temporary-home.ts";

await using home = await temporaryHome();
await using app = await openApp({ home: home.path });
const { permissions, principal, scope, toolNames } = app;
const now = permissions.now();
const made = () => ({ id: newId("grant"), now });

// The operator may do much; what is handed out may add numbers, once.
const operator = operatorGrant(
  { ...made(), principal, scope, epoch: permissions.epoch(principal), read: [], write: [], allow: [] },
  toolNames,
);
const request = narrow(operator, { allow: ["calculator"], calls: 1, ttlMs: 60_000 }, toolNames, now);
const token = permissions.mint(derive(operator, request, made()));

// Whoever presents the token acts under it, and under nothing else.
const grant = await permissions.verify(token);
const call = (name: string, args: object) =>
  app.door.call({
    caller: { principal, scope, grant, taint: [], depth: 0 },
    name,
    args,
    callId: newId("call"),
    signal: AbortSignal.timeout(10_000),
  });
const refusedWith = (code: string) => (error: unknown) => error instanceof CapstanError && error.code === code;

await assert.rejects(call("todo_list", {}), refusedWith("tool.unknown"));
const { outcome } = await call("calculator", { expression: "6*7" });
assert.ok(outcome.type === "done" && outcome.isError !== true);
assert.match(JSON.stringify(outcome.value), /42/);
await assert.rejects(call("calculator", { expression: "6*7" }), refusedWith("budget.calls"));

// Wider than its parent is refused when it is made, not when it is used.
const wider = { ...request, limits: { ...request.limits, calls: 2 } };
assert.throws(() => derive(grant, { ...wider, delegations: 0 }, made()), refusedWith("permission.widen"));
console.log("token: used once, refused twice, and never widened");

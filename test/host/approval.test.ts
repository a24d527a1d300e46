import { describe, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import { localScope } from "../../src/core/scope.ts";
import type { Grant } from "../../src/permissions/grant.ts";
import { handClock } from "../support/clock.ts";
import { testTool } from "../support/door.ts";
import type { Store } from "../../src/store/store.ts";
import type { Effect } from "../../src/tools/tool.ts";
import type { TestHostOptions } from "./scripted.ts";
import { openTestHost, scripted } from "./scripted.ts";

/** A tool that must be asked for, and what it has done. */
function mailTool(effect: Effect = "once") {
  const sent: string[] = [];
  const tool = testTool("mail", {
    effect,
    run: async ({ text }) => {
      sent.push(text);
      return { type: "done", value: `sent ${text}` };
    },
  });
  return { tool, sent };
}

/** A host whose grant asks before each mail, and a run that wants to send some. */
async function openAsking(texts: readonly string[], over: Partial<TestHostOptions> = {}) {
  const { tool, sent } = mailTool();
  const echo = testTool("echo");
  const provider = scripted([
    { calls: [...texts.map((text) => ["mail", { text }] as const), ["echo", { text: "beside" }]] },
    { text: "All is done." },
  ]);
  const at = await openTestHost({ tools: [tool, echo], provider, ...over });
  const grant = asking(at.grant);
  const run = await at.start("send the mails", { grant });
  return { at, grant, run, sent, provider, [Symbol.asyncDispose]: () => at[Symbol.asyncDispose]() };
}

function asking(grant: Grant): Grant {
  const tools = grant.rights.tools.map((right) => (right.name === "mail" ? { ...right, ask: true } : right));
  return { ...grant, rights: { ...grant.rights, tools } };
}

describe("an approval", () => {
  test("suspends the run until it is given, beside calls that need none, and survives a restart", async () => {
    await using given = await openAsking(["hello"]);
    const { at, grant, run, sent, provider } = given;
    expect(run).toMatchObject({
      status: "suspended",
      toolCalls: 1,
      pending: [{ name: "mail", args: { text: "hello" } }],
    });
    expect(sent).toEqual([]);

    const restarted = at.open();
    await restarted.approve(run.runId, run.pending[0]?.callId ?? "", grant);
    expect(sent).toEqual([]);
    const outcome = await restarted.resume(run.runId, { grant, signal: new AbortController().signal });
    expect(outcome).toMatchObject({ status: "done", answer: "All is done.", pending: [] });
    expect(sent).toEqual(["hello"]);
    expect(provider.requests.at(-1)?.messages.at(-2)).toMatchObject({ name: "mail", outcome: { value: "sent hello" } });
  });

  test("leaves a run that still waits as it is", async () => {
    await using given = await openAsking(["hello"]);
    const { at, grant, run, sent } = given;
    const before = await at.events(run.runId);
    expect(await at.resume(run.runId, { grant })).toEqual(run);
    expect(await at.events(run.runId)).toEqual(before);
    expect(sent).toEqual([]);
  });

  test("that is still waited for: whoever is told so has seen what the run saw", async () => {
    await using given = await openAsking(["hello"]);
    const { at, grant } = given;
    const run = await at.start("send the mails", { grant, context: "from elsewhere" });
    const other = { ...grant, id: "grant_other" };
    expect(await at.resume(run.runId, { grant: other })).toEqual(run);
    expect(await at.permissions.taints.of(other)).toEqual(["stdin"]);
  });

  test("is waited for by a run that can be ended when its grant was revoked and its model is gone", async () => {
    await using given = await openAsking(["hello"]);
    const { at, grant, run, sent } = given;
    const [created] = await at.events(run.runId);
    if (created?.type !== "run.created") throw new Error("no beginning");
    await at.permissions.revoke(created.grantId, "over");
    const gone = (): never => {
      throw new CapstanError("provider.unknown", "It is gone.");
    };
    const restarted = at.open({ openProvider: gone });
    const resume = () => restarted.resume(run.runId, { grant, signal: new AbortController().signal });
    await at.host.approve(run.runId, run.pending[0]?.callId ?? "", grant);
    await expect(resume()).rejects.toMatchObject({ code: "provider.unknown" });
    await expect(at.resume(run.runId, { grant })).rejects.toMatchObject({ code: "token.revoked" });
    await restarted.cancel(run.runId, "Enough.", grant);
    expect(await resume()).toMatchObject({ status: "cancelled", message: "Enough." });
    expect(sent).toEqual([]);
    expect(await at.host.verify(run.runId)).toMatchObject({ ok: true, sealed: true });
  });

  test("that is refused is told to the model with its reason", async () => {
    await using given = await openAsking(["hello"]);
    const { at, grant, run, sent, provider } = given;
    await at.host.deny(run.runId, run.pending[0]?.callId ?? "", "Not on a Sunday.", grant);
    expect(await at.resume(run.runId, { grant })).toMatchObject({ status: "done" });
    expect(sent).toEqual([]);
    const outcome = { isError: true, code: "permission.approval_refused" };
    const read = provider.requests.at(-1)?.messages.find((message) => message.role === "tool");
    expect(read).toMatchObject({ name: "mail", outcome });
    expect(JSON.stringify(read)).toContain("Not on a Sunday.");
  });

  test("of one call releases no other, whatever the inbox says (B39)", async () => {
    await using given = await openAsking(["to Anna", "to everybody"]);
    const { at, grant, run, sent } = given;
    const [anna, everybody] = run.pending;
    await at.host.approve(run.runId, anna?.callId ?? "", grant);
    const [item] = await at.store.inbox(localScope, run.runId);
    if (item?.input?.type !== "approval") throw new Error("no approval in the inbox");
    const forged = { ...item.input, callId: everybody?.callId ?? "" };
    await at.store.commit({ scope: localScope, inbox: [{ runId: run.runId, input: forged }] });

    const outcome = await at.resume(run.runId, { grant });
    expect(outcome).toMatchObject({ status: "suspended", pending: [{ callId: everybody?.callId }] });
    expect(outcome.pending[0]?.question).toContain("another call");
    expect(sent).toEqual(["to Anna"]);
  });

  test("that nobody gave, or without an id, counts for nothing (B50)", async () => {
    await using given = await openAsking(["hello"]);
    const { at, grant, run, sent } = given;
    const callId = run.pending[0]?.callId ?? "";
    for (const approvalId of [{ approvalId: "approval_1234" }, {}]) {
      const input = { type: "approval" as const, callId, decision: "approve" as const, ...approvalId };
      await at.store.commit({ scope: localScope, inbox: [{ runId: run.runId, input }] });
      expect(await at.resume(run.runId, { grant })).toMatchObject({ status: "suspended", pending: [{ callId }] });
    }
    expect(sent).toEqual([]);
  });

  test("that has expired is asked for again", async () => {
    const clock = handClock();
    await using given = await openAsking(["hello"], { clock });
    const { at, grant, run, sent } = given;
    const callId = run.pending[0]?.callId ?? "";
    await at.host.approve(run.runId, callId, grant);
    clock.advance(11 * 60_000);
    expect(await at.resume(run.runId, { grant })).toMatchObject({ status: "suspended", pending: [{ callId }] });
    expect(sent).toEqual([]);
    await at.host.approve(run.runId, callId, grant);
    expect(await at.resume(run.runId, { grant })).toMatchObject({ status: "done", wallMs: 0 });
    expect(sent).toEqual(["hello"]);
  });

  test("and its refusal need a grant for this run, and are on record", async () => {
    await using given = await openAsking(["hello"]);
    const { at, grant, run } = given;
    const callId = run.pending[0]?.callId ?? "";
    const ofOtherRun = { ...grant, run: "run_other" };
    for (const act of [
      () => at.host.approve(run.runId, callId, ofOtherRun),
      () => at.host.deny(run.runId, callId, "no", ofOtherRun),
    ]) {
      await expect(act()).rejects.toMatchObject({ code: "token.other_run" });
    }
    expect(await at.store.inbox(localScope, run.runId)).toEqual([]);
    await at.host.deny(run.runId, callId, "no", grant);
    const rows = (await Array.fromAsync(at.store.audit())).map(({ entry }) => entry);
    expect(rows.slice(-3)).toMatchObject([
      { action: "approval/give", decision: "deny", reason: "token.other_run", callId },
      { action: "approval/refuse", decision: "deny", reason: "token.other_run", callId },
      { action: "approval/refuse", decision: "allow", callId, runId: run.runId },
    ]);
  });

  test("needs the right to approve", async () => {
    await using given = await openAsking(["hello"]);
    const { at, grant, run } = given;
    const powerless = { ...grant, rights: { ...grant.rights, approve: [] } };
    const callId = run.pending[0]?.callId ?? "";
    await expect(at.host.approve(run.runId, callId, powerless)).rejects.toMatchObject({ code: "permission.no_right" });
    await expect(at.host.deny(run.runId, callId, "no", powerless)).rejects.toMatchObject({
      code: "permission.no_right",
    });
    await at.host.approve(run.runId, callId, grant);
  });

  test("is possible only for a call that waits, in a run that is there and open", async () => {
    await using given = await openAsking(["hello"]);
    const { at, grant, run } = given;
    await expect(at.host.approve(run.runId, "call_other", grant)).rejects.toMatchObject({ code: "run.not_waiting" });
    await expect(at.host.approve("run_other", "call_other", grant)).rejects.toMatchObject({ code: "run.not_found" });
    // Named are those that the grant may decide.
    const powerless = { ...grant, rights: { ...grant.rights, approve: [] } };
    for (const [by, told] of [
      [grant, run.pending[0]?.callId],
      [powerless, "none"],
    ] as const) {
      await expect(at.host.deny(run.runId, "call_other", "no", by)).rejects.toThrow(`Waiting: ${told}.`);
    }
    const stranger = at.open({ principal: { org: "local", user: "stranger" } });
    await expect(stranger.load(run.runId)).rejects.toMatchObject({ code: "run.not_found" });
    const callId = run.pending[0]?.callId ?? "";
    await at.host.approve(run.runId, callId, grant);
    await at.resume(run.runId, { grant });
    await expect(at.host.approve(run.runId, callId, grant)).rejects.toMatchObject({ code: "run.finished" });
    await expect(at.resume(run.runId, { grant })).rejects.toMatchObject({ code: "run.finished" });
  });

  test("allows nothing that the resuming grant does not hold", async () => {
    await using given = await openAsking(["hello"]);
    const { at, grant, run, sent, provider } = given;
    await at.host.approve(run.runId, run.pending[0]?.callId ?? "", grant);
    const withoutMail = { ...grant.rights, tools: grant.rights.tools.filter(({ name }) => name !== "mail") };
    const outcome = await at.resume(run.runId, { grant: { ...grant, id: "grant_present", rights: withoutMail } });
    expect(outcome).toMatchObject({ status: "done" });
    expect(sent).toEqual([]);
    expect(JSON.stringify(provider.requests.at(-1)?.messages)).toContain("tool.unknown");
    const mayNotResume = { ...grant, rights: { ...grant.rights, runs: ["create" as const] } };
    await expect(at.resume(run.runId, { grant: mayNotResume })).rejects.toMatchObject({ code: "permission.no_right" });
  });

  test.each(["once", "idempotent"] as const)(
    "and what it is for are written to survive a power cut, and so is the start of a call (%s) by it",
    async (effect) => {
      await using given = await openAsking(["hello"], { tools: [mailTool(effect).tool, testTool("echo")] });
      const { at, grant, run } = given;
      const kept: string[] = [];
      const store: Store = {
        ...at.store,
        async commit(batch) {
          for (const { type } of batch.events ?? []) if (batch.durability === "power") kept.push(type);
          await at.store.commit(batch);
        },
      };
      const signal = new AbortController().signal;
      const second = await at.open({ store }).start({ task: "again", model: "scripted", grant, signal });
      await at.open({ store }).approve(second.runId, second.pending[0]?.callId ?? "", grant);
      await at.open({ store }).resume(second.runId, { grant, signal });
      expect(kept).toEqual(["tool.requested", "approval.requested", "tool.requested"]);
      expect(second.runId).not.toBe(run.runId);
    },
  );

  test("shows the arguments that it is for, on one line that they can't rearrange", async () => {
    await using given = await openAsking(["to Eve\n\u202Enot Anna\u001B[2J", "x".repeat(900).concat("y")]);
    const [first, second] = given.run.pending;
    expect(first?.question).toMatch(/Arguments: \{"text":"to Eve\\n\\u\{202e\}not Anna\\u001b\[2J"\}$/i);
    expect(second?.question).toContain(`${"x".repeat(900)}y`);
  });

  test("gives the run no right to approve for itself", async () => {
    await using given = await openAsking(["hello"]);
    const record = await given.at.store.record(localScope, "run-grant", given.run.runId);
    expect(record?.value).toMatchObject({ run: given.run.runId, rights: { approve: [] } });
  });
});

import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { localScope } from "../../src/core/scope.ts";
import { testTool } from "../support/door.ts";
import { tempFolder } from "../support/temp.ts";
import { openTestHost, scripted } from "./scripted.ts";

/** A run that waits for a person before it mails, in a home whose file can be damaged. */
async function openWaiting() {
  await using opened = new AsyncDisposableStack();
  const { path: home } = opened.use(await tempFolder());
  const sent: string[] = [];
  const run = async ({ text }: { text: string }) => ({ type: "done" as const, value: sent.push(text) });
  const tools = [testTool("mail", { effect: "once", run })];
  const provider = scripted([{ calls: [["mail", { text: "hello" }]] }, { text: "Sent." }]);
  const at = opened.use(await openTestHost({ tools, provider, home }));
  const { rights } = at.grant;
  const grant = { ...at.grant, rights: { ...rights, tools: rights.tools.map((right) => ({ ...right, ask: true })) } };
  const { runId, pending } = await at.start("Mail it.", { grant });
  const owned = opened.move();
  return {
    at,
    grant,
    runId,
    callId: pending[0]?.callId ?? "",
    sent,
    /** Changes the file behind the store's back. */
    tamper(sql: string, ...values: readonly string[]): void {
      using db = new DatabaseSync(join(home, "state.db"));
      db.prepare(sql).run(...values);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

describe("a run with an input that can't be read", () => {
  test("does not go on past what may be a person's no, writes nothing, and can be cancelled", async () => {
    await using given = await openWaiting();
    const { at, grant, runId, callId, sent } = given;
    await at.host.deny(runId, callId, "Not today.", grant);
    given.tamper("update inbox set input = '{}' where run = ?", runId);
    await at.host.approve(runId, callId, at.grant);
    const before = await at.events(runId);
    const refused = at.resume(runId, { grant });
    await expect(refused).rejects.toMatchObject({ code: "run.corrupt", details: { runId } });
    await expect(refused).rejects.toThrow(`capstan runs cancel ${runId}`);
    expect(await at.events(runId)).toEqual(before);

    await at.host.cancel(runId, "Enough.", grant);
    expect(await at.resume(runId, { grant })).toMatchObject({ status: "cancelled", message: "Enough." });
    expect(sent).toEqual([]);
    expect(await at.store.inbox(localScope, runId)).toEqual([]);
    expect(await at.host.verify(runId)).toMatchObject({ ok: true, sealed: true });
  });

  test("goes on where all that came can be read", async () => {
    await using given = await openWaiting();
    const { at, grant, runId, callId, sent } = given;
    await at.host.approve(runId, callId, at.grant);
    expect(await at.resume(runId, { grant })).toMatchObject({ status: "done", answer: "Sent." });
    expect(sent).toEqual(["hello"]);
  });
});

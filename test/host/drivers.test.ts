import { describe, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import { testTool } from "../support/door.ts";
import { openTestHost, scripted } from "./scripted.ts";

const signal = new AbortController().signal;

describe("a run that is resumed twice at once in one process", () => {
  test("goes on as the first's, and stays its own until it has left", async () => {
    const [written, goesOn, called, ends] = Array.from({ length: 4 }, () => Promise.withResolvers<void>());
    const act = testTool("act", {
      effect: "idempotent",
      run: async () => (called?.resolve(), await ends?.promise, { type: "done" }),
    });
    await using at = await openTestHost({
      tools: [act],
      provider: scripted([{ calls: [["act", {}]] }, { text: "Done." }]),
    });
    const { runId } = await at.start("act", { signal: AbortSignal.abort() });
    // The first has written that it goes on, and does not know yet.
    const host = at.open({
      store: {
        ...at.store,
        async commit(batch) {
          await at.store.commit(batch);
          if (batch.events?.[0]?.type !== "run.resumed") return;
          written?.resolve();
          await goesOn?.promise;
        },
      },
    });
    const resume = () => host.resume(runId, { grant: at.grant, signal });
    const first = resume();
    await written?.promise;
    const refused = { code: "store.conflict", message: `This process already drives ${runId}.` };
    await expect(resume()).rejects.toMatchObject(refused);
    goesOn?.resolve();
    await called?.promise;
    await expect(resume()).rejects.toMatchObject(refused);
    ends?.resolve();
    expect(await first).toMatchObject({ status: "done", answer: "Done.", toolCalls: 1 });
    await expect(resume()).rejects.toMatchObject({ code: "run.finished" });
  });
});

describe("a run whose process can't write at its end", () => {
  test.each([
    ["is over", true, /is over \(done\).*capstan runs show run_/],
    ["is not over", false, /has stopped where its log ends.*capstan runs resume run_/],
  ])("says what can be done with one that %s", async (_, isOver, says) => {
    await using at = await openTestHost({ tools: [], provider: scripted([{ text: "Done." }]) });
    const full = new CapstanError("store.full", "The disk is full.");
    const { permissions, store } = at;
    const fail = async (): Promise<void> => {
      throw full;
    };
    const host = at.open(
      isOver
        ? { permissions: { ...permissions, taints: { ...permissions.taints, add: fail } } }
        : {
            store: {
              ...store,
              commit: (batch) => (batch.events?.[0]?.type === "run.created" ? store.commit(batch) : fail()),
            },
          },
    );
    const run = host.start({ task: "go", model: "scripted", grant: at.grant, signal });
    await expect(run).rejects.toThrow(says);
    await expect(run).rejects.toMatchObject({ code: "store.full" });
    const [line] = await at.host.list(1);
    expect(line?.status).toBe(isOver ? "done" : "running");
  });
});

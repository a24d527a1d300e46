import { describe, expect, test } from "vitest";
import type { Event } from "../../../src/core/event.ts";
import type { Run } from "../../../src/core/run.ts";
import { applyEvent } from "../../../src/core/run.ts";
import { loadTokenizer } from "../../../src/host/context/count.ts";
import { explainContext } from "../../../src/host/context/explain.ts";
import { openTestHost } from "../scripted.ts";
import { isForSummary, stepTool, tokensOf, worker } from "./worker.ts";

const count = await loadTokenizer();

/** What each turn of the model was told. */
function explainAll(events: readonly Event[]) {
  const told: ReturnType<typeof explainContext>[] = [];
  let run: Run | null = null;
  for (const event of events) {
    run = applyEvent(run, event);
    if (event.type === "model.requested" && event.purpose === undefined) told.push(explainContext(run, count));
  }
  return told;
}

describe("explainContext()", () => {
  test("says what each call of the model was told, with its cuts and its summaries", async () => {
    const { provider, requests } = worker({ steps: 12, counts: true });
    const { tool } = stepTool(1_300);
    const config = { models: { scripted: { windowTokens: 3_000 } }, resultTokens: 200 };
    await using at = await openTestHost({ tools: [tool], provider, config });
    const first = await at.start("Do six steps.", { limits: { turns: 6 } });
    expect(first.status).toBe("limit");
    const second = await at.start("Do the others.", { continue: true, limits: { turns: 100 } });
    expect(second.status).toBe("done");
    const told = explainAll((await at.host.load(second.runId)).events);

    const asked = requests.filter((request) => !isForSummary(request));
    expect(told.map(({ tools }) => tools)).toEqual(asked.map(({ tools }) => tools.map(({ name }) => name)));
    expect(told.map(({ parts }) => parts.length)).toEqual(asked.map(({ messages }) => messages.length + 2));
    expect(told.map(({ tokens }) => tokens)).toEqual(asked.map(tokensOf));
    expect(told.every(({ tokens, budgetTokens = 0 }) => tokens <= budgetTokens)).toBe(true);
    expect(told[0]?.parts.map(({ kind }) => kind)).toEqual(["instructions", "tools", "task"]);
    const kinds = told.at(-1)?.parts.map(({ kind }) => kind) ?? [];
    expect(kinds.filter((kind) => kind === "task" || kind === "summary").sort()).toEqual(["summary", "task"]);
    const results = told.flatMap(({ parts }) => parts.filter(({ kind }) => kind === "result"));
    expect(results.length).toBeGreaterThan(0);
    expect(results.every(({ isCut, name }) => isCut === true && name === "step")).toBe(true);
  });

  test("calls a result whole that is, and knows no budget where nobody does", async () => {
    const { provider } = worker({ steps: 2 });
    const { tool } = stepTool(100);
    await using at = await openTestHost({ tools: [tool], provider });
    const last = explainAll((await at.host.load((await at.start("Do both.")).runId)).events).at(-1);
    const results = last?.parts.filter(({ kind }) => kind === "result");
    expect(results?.map(({ name, isCut }) => [name, isCut])).toEqual([
      ["step", undefined],
      ["step", undefined],
    ]);
    expect(last).not.toHaveProperty("budgetTokens");
  });
});

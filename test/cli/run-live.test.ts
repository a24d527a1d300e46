import { expect, test } from "vitest";
import { openLive } from "../../src/cli/run-live.ts";
import type { Event, EventBody } from "../../src/core/event.ts";
import { localScope } from "../../src/core/scope.ts";

const event = (body: EventBody): Event => ({ v: 1, scope: localScope, runId: "run_1", seq: 2, at: 0, ...body });
const hit = { type: "guardrail.hit", rule: "secrets", place: "output", message: "Something was hit." } as const;

test.each([
  ["redacted", true, "Something was hit."],
  ["asked_again", false, "What stands above is void: Something was hit."],
] as const)("words that were %s stand, or are void", (action, stands, said) => {
  const told: string[] = [];
  const live = openLive({ stream: () => {}, tell: (line) => told.push(line) }, { streams: true, isWatched: true });
  live.onSignal({ type: "text.delta", text: "The key is [redacted key]." });
  live.onSignal({ type: "event", event: event({ ...hit, action }) });
  expect(told).toEqual([said]);
  expect(live.finish("The key is [redacted key].")).toBe(stands);
});

test("a call that was made before the run was taken up has its name, and the time since then", () => {
  const made = { type: "tool.requested", callId: "call_1", name: "todo_add", args: { text: "buy milk" } } as const;
  const before = [event({ ...made, effect: "once" })];
  const told: string[] = [];
  const live = openLive(
    { stream: () => {}, tell: (line) => told.push(line) },
    { streams: false, isWatched: false },
    before,
  );
  const tell = (body: EventBody, at: number): void => live.onSignal({ type: "event", event: { ...event(body), at } });
  tell({ type: "run.resumed", grantId: "grant_1" }, 60_000);
  const outcome = { isError: false, content: [{ type: "text" as const, text: "Added." }] };
  tell({ type: "tool.finished", callId: "call_1", outcome, taint: [] }, 60_250);
  expect(told).toEqual(['todo_add {"text":"buy milk"}  0.25 s  Added.']);
});

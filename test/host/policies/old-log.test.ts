import { expect, test } from "vitest";
import type { Event, EventBody } from "../../../src/core/event.ts";
import { foldRun } from "../../../src/core/run.ts";
import { localScope } from "../../../src/core/scope.ts";
import { decide } from "../../../src/host/decide.ts";
import { free } from "../scripted.ts";

const limits = { turns: 20, timeMs: 60_000, costMicroUsd: 0, depth: 1, parallel: 2 };
const failed = { type: "model.failed", code: "provider.unavailable", message: "Away.", retryAfterMs: 5 } as const;
const requested = { type: "model.requested", turn: 1, contextHash: "" } as const;

/** A log of the time when the driver made a failed call again itself, under another id. */
const bodies: readonly EventBody[] = [
  { type: "run.created", task: "go", model: "scripted", limits, grantId: "grant_1" },
  { ...requested, callId: "call_1" },
  { ...failed, callId: "call_1" },
  { ...requested, callId: "call_2" },
  {
    type: "model.answered",
    callId: "call_2",
    parts: [{ type: "text", text: "Back." }],
    stop: "end",
    usage: free,
    costMicroUsd: 0,
  },
];
const events = bodies.map((body, place): Event => ({
  v: 1,
  scope: localScope,
  runId: "run_1",
  seq: place + 1,
  at: 0,
  ...body,
}));

test("a log with calls that were made again after a failure goes on from wherever it ends", async () => {
  const commands = async (length: number) => decide(await foldRun(events.slice(0, length)));
  expect(await commands(2)).toMatchObject([{ type: "call_model", id: "call_1", again: true }]);
  expect(await commands(3)).toMatchObject([
    { type: "finish", end: { status: "failed", code: "provider.unavailable" } },
  ]);
  expect(await commands(4)).toMatchObject([{ type: "call_model", id: "call_2", again: true }]);
  expect(await commands(5)).toMatchObject([{ type: "finish", end: { status: "done", answer: "Back." } }]);
});

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AnswerPart, Event, EventBody } from "../../src/core/event.ts";
import type { Run } from "../../src/core/run.ts";
import { applyEvent } from "../../src/core/run.ts";
import { localScope } from "../../src/core/scope.ts";
import type { Command } from "../../src/host/decide.ts";
import { decide, toCallId } from "../../src/host/decide.ts";
import { pureCases } from "../support/cases.ts";
import { free } from "./scripted.ts";

type Effect = "read" | "idempotent" | "once";
/** The calls of each turn; after the last turn the model says that it is done. Text that is no JSON stands for itself. */
type Script = readonly (readonly (Effect | "garbage")[])[];

const limits = { turns: 20, timeMs: 60_000, costMicroUsd: 0, depth: 1, parallel: 2 };
const created: EventBody = { type: "run.created", task: "go", model: "scripted", limits, grantId: "grant_1" };

/** A log in memory, whose driver does one thing at a time, whichever `pick` says, and may lose what it has in flight. */
function simulate(script: Script, pick: (options: number) => number) {
  const events: Event[] = [];
  const asked = new Map<string, number>();
  const ran = new Map<string, number>();
  const inFlight = new Map<string, Command>();
  let run = write(null, created);

  function write(on: Run | null, body: EventBody): Run {
    const event: Event = { v: 1, scope: localScope, runId: "run_1", seq: (on?.seq ?? 0) + 1, at: 0, ...body };
    events.push(event);
    return applyEvent(on, event);
  }

  /** The model's answer to a command, by the turn alone. */
  function answer(callId: string): EventBody {
    const calls = script[run.turns] ?? [];
    const parts: AnswerPart[] = calls.map((effect, place) => ({
      type: "tool_call",
      callId: toCallId(run, "tool", run.turns, place),
      name: effect,
      argumentsText: effect === "garbage" ? "{" : "{}",
    }));
    const said: AnswerPart[] = calls.length === 0 ? [{ type: "text", text: "The end." }] : parts;
    return {
      type: "model.answered",
      callId,
      parts: said,
      stop: calls.length === 0 ? "end" : "tool",
      usage: free,
      costMicroUsd: 0,
    };
  }

  function begin(command: Command): void {
    const { id } = command;
    switch (command.type) {
      case "call_model":
        if (!command.again)
          run = write(run, { type: "model.requested", callId: id, turn: command.turn, contextHash: "" });
        inFlight.set(id, command);
        break;
      case "call_tool": {
        const effect = command.name === "once" || command.name === "read" ? command.name : "idempotent";
        if (!command.again)
          run = write(run, { type: "tool.requested", callId: id, name: command.name, args: {}, effect });
        inFlight.set(id, command);
        break;
      }
      case "ask":
        asked.set(id, (asked.get(id) ?? 0) + 1);
        run = write(run, {
          type: "approval.requested",
          callId: id,
          name: command.name,
          args: {},
          pin: "",
          callHash: "",
          question: "",
        });
        break;
      case "end_call":
        run = write(run, { type: "tool.finished", callId: id, outcome: command.outcome, taint: [] });
        break;
      case "suspend":
        run = write(run, { type: "run.suspended", reason: "approval", callIds: [...command.callIds] });
        run = write(run, { type: "run.resumed", grantId: "grant_2" });
        for (const callId of command.callIds) {
          const input = { type: "approval" as const, callId, decision: "approve" as const, approvalId: "approval_1" };
          run = write(run, { type: "input.received", input });
        }
        break;
      case "finish":
        run = write(run, { type: "run.finished", ...command.end });
        break;
      default:
        throw new Error(`nothing was cut and no window is known, so not ${command.type}`);
    }
  }

  const take = (callId: string): void => void ran.set(callId, (ran.get(callId) ?? 0) + 1);

  function end({ id, type }: Command): void {
    inFlight.delete(id);
    if (type === "call_model") run = write(run, answer(id));
    else {
      take(id);
      run = write(run, { type: "tool.finished", callId: id, outcome: { isError: false, value: id }, taint: [id] });
    }
  }

  /** Of what was in flight, some had taken effect already. */
  function crash(): void {
    for (const { id, type } of inFlight.values()) if (type === "call_tool" && pick(2) === 1) take(id);
    inFlight.clear();
  }

  for (let step = 0; run.end === null; step += 1) {
    if (step > 1_000) throw new Error("the run does not end");
    const commands = decide(run);
    const places = commands.filter(({ type }) => type === "call_tool" || type === "ask").length;
    if (places > limits.parallel) throw new Error(`${places} calls at a time`);
    const alone = commands.some(({ type }) => type === "finish" || type === "suspend");
    const open = commands.filter(({ id }) => !inFlight.has(id) && (!alone || inFlight.size === 0));
    const choices = [
      ...open.map((command) => () => begin(command)),
      ...[...inFlight.values()].map((command) => () => end(command)),
    ];
    const chosen = pick(choices.length + 1);
    (choices[chosen] ?? crash)();
  }
  return { run, events, asked, ran };
}

/** Always the first choice: everything in order, and nothing is lost. */
const smoothly = (): number => 0;

/** The given choices, then the first one: a run of bad luck that ends. */
function byChoices(choices: readonly number[]): (options: number) => number {
  let next = 0;
  return (options) => {
    const choice = choices[next] ?? 0;
    next += 1;
    return choice % options;
  };
}

const anyScript = fc.array(
  fc.array(fc.constantFrom("read", "idempotent", "once", "garbage"), { minLength: 1, maxLength: 4 }),
  {
    maxLength: 3,
  },
);

describe("decide()", () => {
  test(
    "finishes the same run over any prefix of its log and any crash, and repeats no harm without asking",
    () => {
      let crashed = 0;
      const finishes = fc.property(anyScript, fc.array(fc.nat(), { maxLength: 60 }), (script, choices) => {
        const smooth = simulate(script, smoothly);
        const rough = simulate(script, byChoices(choices));
        crashed += rough.asked.size;
        expect(rough.run.end).toEqual(smooth.run.end);
        expect(rough.run.messagesHash).toBe(smooth.run.messagesHash);
        expect(rough.run.taint).toEqual(smooth.run.taint);
        const harmed = [...rough.ran].filter(([callId, times]) => times > 1 + (rough.asked.get(callId) ?? 0));
        const isHarm = ([callId]: readonly [string, number]): boolean =>
          rough.events.some(
            (event) => event.type === "tool.requested" && event.callId === callId && event.effect === "once",
          );
        expect(harmed.filter(isHarm)).toEqual([]);
      });
      fc.assert(finishes, { numRuns: pureCases });
      expect(crashed).toBeGreaterThan(pureCases / 100);
    },
    30_000 + 10 * pureCases,
  );

  test(
    "gives the same commands for the same log, and none for one that is over",
    () => {
      const same = fc.property(anyScript, fc.array(fc.nat(), { maxLength: 30 }), (script, choices) => {
        const { events } = simulate(script, byChoices(choices));
        let run: Run | null = null;
        for (const event of events) {
          run = applyEvent(run, event);
          const again = events.slice(0, event.seq).reduce<Run | null>(applyEvent, null);
          expect(again === null ? [] : decide(again)).toEqual(decide(run));
        }
        expect(run === null ? null : decide(run)).toEqual([]);
      });
      fc.assert(same, { numRuns: Math.max(20, pureCases / 20) });
    },
    30_000 + 10 * pureCases,
  );

  test("gives an approved call no place that others hold", () => {
    const script: Script = [["once", "read", "idempotent"]];
    const asking = { type: "approval.requested", name: "once", args: {}, pin: "", callHash: "", question: "" } as const;
    const { events } = simulate(script, smoothly);
    const begun = events.slice(0, 3).reduce<Run | null>(applyEvent, null);
    const [once = "", read = "", idempotent = ""] = begun?.calls.keys() ?? [];
    const bodies: readonly EventBody[] = [
      { ...asking, callId: once },
      { type: "tool.requested", callId: read, name: "read", args: {}, effect: "read" },
      { type: "tool.requested", callId: idempotent, name: "idempotent", args: {}, effect: "idempotent" },
      {
        type: "input.received",
        input: { type: "approval", callId: once, decision: "approve", approvalId: "approval_1" },
      },
    ];
    const run = bodies.reduce<Run | null>((before, body, place) => {
      return applyEvent(before, { v: 1, scope: localScope, runId: "run_1", seq: 4 + place, at: 0, ...body });
    }, begun);
    expect(run === null ? null : decide(run)).toMatchObject([{ id: read }, { id: idempotent }]);
  });

  test("asks about a harmful call whose end nobody saw, and repeats a harmless one under its id", () => {
    const { events } = simulate([["once", "read"]], smoothly);
    const begun = events.slice(0, events.findLastIndex(({ type }) => type === "tool.requested") + 1);
    const withoutEnds = begun
      .filter(({ type }) => type !== "tool.finished")
      .map((event, place) => ({ ...event, seq: place + 1 }));
    const run = withoutEnds.reduce<Run | null>(applyEvent, null);
    expect(run === null ? null : decide(run)).toMatchObject([
      { type: "ask", name: "once" },
      { type: "call_tool", name: "read", again: true },
    ]);
  });
});

import { describe, expect, test } from "vitest";
import { CapstanError } from "../../../src/core/error.ts";
import type { AnswerPart } from "../../../src/core/event.ts";
import { HostConfig } from "../../../src/host/config.ts";
import { openPolicies } from "../../../src/host/policies/all.ts";
import type { ModelEvent, Provider } from "../../../src/host/provider.ts";
import { free, openTestHost } from "../scripted.ts";
import { faulty } from "./faulty.ts";

const usage = { ...free, inputUncached: 30, output: 12 };
const config = HostConfig.parse({ prices: { scripted: { input: 1, output: 2 } } });

/** A metered model of one answer, which does something right before that is complete. */
function answering(parts: readonly AnswerPart[], before: () => void = () => {}): Provider {
  async function* stream(): AsyncGenerator<ModelEvent> {
    yield { type: "text.delta", text: "a word" };
    before();
    yield { type: "message.ended", parts, stop: "end", usage };
  }
  return { name: "scripted", identity: "scripted", metered: true, stream };
}

const call = (place: number): AnswerPart => ({
  type: "tool_call",
  callId: `call_${place}`,
  name: "echo",
  argumentsText: "{}",
});

type Host = Awaited<ReturnType<typeof openTestHost>>;

const usedBy = async ({ store, grant }: Host) => (await store.used([grant.id])).get(grant.id) ?? {};

describe("an answer that can't be taken", () => {
  test.each<[string, readonly AnswerPart[]]>([
    ["says nothing", [{ type: "text", text: " \n" }]],
    ["asks for too many calls", Array.from({ length: 129 }, (_, place) => call(place))],
  ])("and %s is charged with what it used", async (_, parts) => {
    await using at = await openTestHost({ tools: [], provider: answering(parts), config });
    const outcome = await at.start("Say something.");
    expect(outcome).toMatchObject({ status: "failed", code: "provider.bad_answer", usage, costMicroUsd: 54 });
    expect(await usedBy(at)).toEqual({ tokens: 42, costMicroUsd: 54 });
    const failed = (await at.events(outcome.runId)).find(({ type }) => type === "model.failed");
    expect(failed).toMatchObject({ usage, costMicroUsd: 54 });
    expect((await at.host.replay(outcome.runId)).ok).toBe(true);
  });

  test("and whose endpoint said what it used is charged with that, attempt by attempt", async () => {
    const details = { usage };
    const provider: Provider = {
      ...answering([]),
      // oxlint-disable-next-line require-yield
      async *stream() {
        throw new CapstanError("provider.unavailable", "It broke off.", { details });
      },
    };
    await using at = await openTestHost({ tools: [], provider, config });
    const outcome = await at.start("Say something.");
    expect(outcome).toMatchObject({ code: "provider.unavailable", costMicroUsd: 4 * 54, usage: { output: 48 } });
    expect(await usedBy(at)).toEqual({ tokens: 4 * 42, costMicroUsd: 4 * 54 });
  });

  test("and broke off by a word that else costs nothing is charged with the estimate, since some of it came", async () => {
    const provider: Provider = {
      ...answering([]),
      async *stream() {
        yield { type: "text.delta", text: "a word" };
        throw new CapstanError("provider.bad_request", "It can't go on.");
      },
    };
    await using at = await openTestHost({ tools: [], provider, config });
    expect(await at.start("Say something.")).toMatchObject({ code: "provider.bad_request", costMicroUsd: 0 });
    expect((await usedBy(at)).tokens).toBeGreaterThan(4_096);
  });

  test("and comes after one that was declined is counted with that one", async () => {
    const { openProvider } = openPolicies({
      config: HostConfig.parse({
        providers: { x: {} },
        routes: { both: { models: ["x:a", "x:b"], declined: "next" } },
      }),
      open: (model) => (model === "x:a" ? faulty("a", ["refusal"]) : faulty("b", [{ code: "provider.bad_answer" }])),
    });
    await using at = await openTestHost({ tools: [], provider: faulty("a", []) });
    const host = at.open({ openProvider });
    const signal = new AbortController().signal;
    const outcome = await host.start({ task: "Say something.", model: "both", grant: at.grant, signal });
    expect(outcome).toMatchObject({ status: "failed", code: "provider.bad_answer", usage: { output: 10 } });
  });
});

test("an answer that is complete when a person interrupts the run is on record, and not asked for again", async () => {
  const controller = new AbortController();
  let asked = 0;
  const provider = answering([{ type: "text", text: "The end." }], () => {
    asked += 1;
    controller.abort(new CapstanError("core.interrupted", "Stop."));
  });
  await using at = await openTestHost({ tools: [], provider, config });
  const host = at.open({ openProvider: () => provider });
  const { signal } = controller;
  const outcome = await host.start({ task: "Say something.", model: "scripted", grant: at.grant, signal });
  expect(outcome).toMatchObject({ turns: 1, costMicroUsd: 54 });
  expect(await usedBy(at)).toEqual({ tokens: 42, costMicroUsd: 54 });
  expect(await at.resume(outcome.runId)).toMatchObject({ status: "done", answer: "The end.", costMicroUsd: 54 });
  expect(asked).toBe(1);
});

describe("a call that is made again after an interruption", () => {
  /** A run that is interrupted while its model hangs, and resumed. */
  async function interruptTwice(tokens: number) {
    const provider = faulty("scripted", ["hang", "hang"]);
    const at = await openTestHost({ tools: [], provider, grant: { limits: { tokens } } });
    let runId = "";
    for (const attempt of [1, 2]) {
      const controller = new AbortController();
      const signal = controller.signal;
      const onSignal = ({ type }: { readonly type: string }): void => {
        if (type === "text.delta") controller.abort(new CapstanError("core.interrupted", "Stop."));
      };
      const outcome =
        attempt === 1
          ? await at.start("Say something.", { signal, onSignal })
          : await at.resume(runId, { signal, onSignal });
      ({ runId } = outcome);
    }
    const lost = (await usedBy(at)).tokens ?? 0;
    const outcome = await at.resume(runId);
    return { at, provider, outcome, lost, used: (await usedBy(at)).tokens };
  }

  test("is charged beside each attempt whose end nobody saw", async () => {
    const { at, outcome, lost, used, provider } = await interruptTwice(1_000_000);
    await using _ = at;
    expect(outcome).toMatchObject({ status: "done" });
    expect(provider.attempts()).toBe(3);
    expect(lost).toBeGreaterThan(2 * 4_096);
    expect(used).toBe(lost + 10);
  });

  test("is not made where the budget has no room for it", async () => {
    const { at, outcome, provider } = await interruptTwice(10_000);
    await using _ = at;
    expect(outcome).toMatchObject({ status: "limit", code: "budget.tokens" });
    expect(provider.attempts()).toBe(2);
  });
});

describe("a call that waits for its endpoint", () => {
  const paced = { pacing: { scripted: { requestsPerMinute: 1, queueMs: 1_000_000 } } };
  const asleep = (_: number, signal: AbortSignal): Promise<never> =>
    new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

  /** A host whose second call of the model waits for its turn for as long as its time lasts. */
  async function openPaced(callMs: number) {
    const at = await openTestHost({ tools: [], provider: faulty("scripted", []) });
    const provider = faulty("scripted", []);
    const all = HostConfig.parse({ ...paced, providers: { scripted: {} }, retries: { callMs } });
    const host = at.open(openPolicies({ config: all, open: () => provider, sleep: asleep }));
    const start = (signal = new AbortController().signal) =>
      host.start({ task: "Say something.", model: "scripted", grant: at.grant, signal });
    expect(await start()).toMatchObject({ status: "done" });
    return { at, start, provider };
  }

  test("and is over before its turn costs nothing", async () => {
    const { at, start, provider } = await openPaced(100);
    await using _ = at;
    expect(await start()).toMatchObject({ status: "failed", code: "provider.timeout" });
    expect(await usedBy(at)).toMatchObject({ tokens: 10 });
    expect(provider.attempts()).toBe(1);
  });

  test("and is interrupted before its turn costs nothing, and is asked for once it goes on", async () => {
    const { at, start } = await openPaced(60_000);
    await using _ = at;
    const controller = new AbortController();
    const waiting = start(controller.signal);
    while ((await usedBy(at)).tokens === 10) await new Promise(setImmediate);
    controller.abort(new CapstanError("core.interrupted", "Stop."));
    const { runId } = await waiting;
    expect(await usedBy(at)).toMatchObject({ tokens: 10 });
    expect(await at.resume(runId)).toMatchObject({ status: "done" });
    expect(await usedBy(at)).toMatchObject({ tokens: 20 });
  });
});

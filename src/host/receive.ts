import { CapstanError, toCapstanError } from "../core/error.ts";
import type { ErrorCode } from "../core/error.ts";
import { Usage } from "../core/event.ts";
import type { ModelNotice, Spent } from "../core/event.ts";
import { newId } from "../core/id.ts";
import { addUsage, noUsage } from "../core/usage.ts";
import { toCharge } from "../permissions/ledger.ts";
import type { Charge, Settle } from "../store/store.ts";
import type { Show } from "./guardrails/show.ts";
import { estimateAmounts, toAmounts, toCostMicroUsd } from "./price.ts";
import type { ModelEvent, ModelRequest } from "./provider.ts";
import type { Work, World } from "./world.ts";

export type Ended = ModelEvent & { readonly type: "message.ended" };

type Stage = "waiting" | "sent" | "answering";

/** The failures after which, where nothing of an answer came, it is sure that the provider has billed nothing. */
const unbilled: ReadonlySet<string> = new Set<ErrorCode>([
  "provider.unknown",
  "provider.sign_in",
  "provider.rate_limited",
  "provider.bad_request",
  "provider.circuit_open",
  "provider.busy",
]);

/** The reservation of one attempt at a model: its whole context, and the longest answer. */
export function toReservation(
  callId: string,
  request: ModelRequest,
  { grant, price, permissions }: Pick<World, "grant" | "price" | "permissions">,
): Charge {
  return toCharge(grant, callId, estimateAmounts(request, price), permissions.now());
}

/**
 * Reserves a call that is made again, and gives the id of the new charge. Nobody saw what the attempt used whose process died, so its
 * reservation stays charged beside this one. Throws `budget.*`.
 */
export async function reserveAgain(request: ModelRequest, { world, log }: Work): Promise<string> {
  const chargeId = newId("attempt");
  await world.store.commit({ scope: log.run().scope, charges: [toReservation(chargeId, request, world)] });
  return chargeId;
}

/**
 * Streams one model call; `notices` gets those of the policies around the model, which have a charge of their own. Without `show` nothing
 * of the answer is shown. An answer that is complete counts, also where the run was told to stop meanwhile: it is billed.
 */
export async function receive(request: ModelRequest, work: Work, notices: ModelNotice[], show?: Show): Promise<Ended> {
  const { world, halt } = work;
  /** An attempt before has a charge of its own; this one waits for its time, a place or its turn, is sent, and then answers. */
  let stage: Stage = "waiting";
  try {
    for await (const event of world.provider.stream(request, halt)) {
      if (event.type === "message.ended") return event;
      if (event.type === "notice") {
        notices.push(event.notice);
        if (event.notice.type === "retry" || event.notice.type === "failover") show?.restart();
        world.onSignal(event);
        await chargeAttempt(event.notice, stage, request, work);
        if (event.notice.type === "retry" || event.notice.type === "failover") stage = "waiting";
        continue;
      }
      stage = event.type === "message.started" ? "sent" : "answering";
      if (event.type === "text.delta" || event.type === "reasoning.delta") show?.push(event);
    }
    halt.throwIfAborted();
  } catch (thrown) {
    if (stage === "sent") throw thrown;
    const cause = toCapstanError(thrown);
    const details = { ...cause.details, isUnbilled: stage === "waiting" };
    throw new CapstanError(cause.code, cause.message, { cause, details });
  }
  throw new CapstanError("provider.unavailable", "The model's answer was cut before its end. Try again.");
}

/**
 * The reservation of a model call is for its last attempt. One before it has a charge of its own, made before the next begins, so that
 * attempts end where a budget does: what it used where that is known, nothing where nothing was billed, else the estimate.
 */
async function chargeAttempt(
  notice: ModelNotice,
  stage: Stage,
  request: ModelRequest,
  { world, log }: Work,
): Promise<void> {
  if ((notice.type !== "retry" && notice.type !== "failover") || !world.provider.metered) return;
  const { usage: known } = notice;
  const isFree = stage === "waiting" || (stage === "sent" && unbilled.has(notice.code));
  if (known === undefined && isFree) return;
  const price = world.priceOf(notice.model);
  const amounts = known === undefined ? estimateAmounts(request, price) : toAmounts(known, price);
  const callId = newId("attempt");
  await world.store.commit({
    scope: log.run().scope,
    charges: [toCharge(world.grant, callId, amounts, world.permissions.now())],
    settles: [{ callId, amounts, outcome: known === undefined ? "unknown" : "done" }],
  });
}

/** Whether a failure, or the last of those that it stands for, is sure to have cost nothing. */
function isUnbilled({ code, details }: CapstanError): boolean {
  const { lastCode, isUnbilled: isKnown } = details;
  return typeof isKnown === "boolean" ? isKnown : unbilled.has(typeof lastCode === "string" ? lastCode : code);
}

/** What a call used, as far as it is known: its last answer, where there is one, and attempts on the way to it. */
export function toSpent(
  last: Pick<Ended, "usage" | "model"> | undefined,
  notices: readonly ModelNotice[],
  { price, priceOf }: Pick<World, "price" | "priceOf">,
): Spent {
  const all = notices.flatMap((notice) =>
    "usage" in notice && notice.usage !== undefined ? [{ usage: notice.usage, price: priceOf(notice.model) }] : [],
  );
  if (last !== undefined)
    all.push({ usage: last.usage, price: last.model === undefined ? price : priceOf(last.model) });
  return {
    usage: all.map(({ usage }) => usage).reduce(addUsage, noUsage),
    costMicroUsd: all.reduce((sum, one) => sum + toCostMicroUsd(one.usage, one.price), 0),
  };
}

/** How far a model call has come. */
interface CallState {
  /** What is settled when it ends; undefined: nothing was charged. */
  readonly chargeId: string | undefined;
  /** Its answer, once that is complete. */
  readonly ended: Ended | undefined;
  readonly notices: readonly ModelNotice[];
}

/** A model call that has failed, as it is recorded and settled. */
export interface FailedCall {
  readonly spent: Partial<Spent>;
  /** Of its charge; empty where none was made. */
  readonly settles: readonly Settle[];
}

/**
 * What is known of a failed call: of an answer that came and can't be taken what it used, of one that never came what the endpoint said,
 * nothing where nothing was sent or billed; else its reservation stays charged.
 */
export function toFailedCall(
  error: CapstanError,
  { chargeId, ended, notices }: CallState,
  world: Pick<World, "price" | "priceOf">,
): FailedCall {
  const usage = ended?.usage ?? usageOf(error);
  const model = ended?.model === undefined ? {} : { model: ended.model };
  const last = usage === undefined ? undefined : { usage, ...model };
  const isKnown = last !== undefined || notices.some((notice) => "usage" in notice);
  const spent = isKnown ? toSpent(last, notices, world) : {};
  if (chargeId === undefined) return { spent, settles: [] };
  if (last !== undefined) return { spent, settles: [toSettle(chargeId, last, "error", world)] };
  const outcome = isUnbilled(error) ? ("error" as const) : ("unknown" as const);
  return { spent, settles: [{ callId: chargeId, amounts: {}, outcome }] };
}

/** What a call used whose usage is known, in place of its reservation. */
export function toSettle(
  chargeId: string,
  { usage, model }: Pick<Ended, "usage" | "model">,
  outcome: Settle["outcome"],
  { price, priceOf }: Pick<World, "price" | "priceOf">,
): Settle {
  return { callId: chargeId, amounts: toAmounts(usage, model === undefined ? price : priceOf(model)), outcome };
}

/** What an attempt used that failed, where its endpoint said so. */
export function usageOf({ details }: CapstanError): Usage | undefined {
  return Usage.safeParse(details["usage"]).data;
}

import { CapstanError, toCapstanError } from "../core/error.ts";
import type { ErrorCode } from "../core/error.ts";
import type { ModelNotice, Usage } from "../core/event.ts";
import { newId } from "../core/id.ts";
import { addUsage } from "../core/usage.ts";
import { toCharge } from "../permissions/ledger.ts";
import type { Show } from "./guardrails/show.ts";
import { estimateUsage, toAmounts, toCostMicroUsd } from "./price.ts";
import type { ModelEvent, ModelRequest } from "./provider.ts";
import type { Work, World } from "./world.ts";

export type Ended = ModelEvent & { readonly type: "message.ended" };

/** The failures after which it is sure that the provider has billed nothing. */
const unbilled: ReadonlySet<string> = new Set<ErrorCode>([
  "provider.unknown",
  "provider.sign_in",
  "provider.rate_limited",
  "provider.bad_request",
  "provider.circuit_open",
  "provider.busy",
]);

/**
 * Streams one model call; `notices` gets those of the policies around the model, which have a charge of their own. Without `show` nothing
 * of the answer is shown.
 */
export async function receive(request: ModelRequest, work: Work, notices: ModelNotice[], show?: Show): Promise<Ended> {
  const { world, halt } = work;
  let ended: Ended | undefined;
  /** The last attempt has a charge of its own, and the next one waits for its time. */
  let isWaiting = false;
  try {
    for await (const event of world.provider.stream(request, halt)) {
      if (event.type === "text.delta" || event.type === "reasoning.delta") show?.push(event);
      else if (event.type === "message.started") isWaiting = false;
      else if (event.type === "message.ended") ended = event;
      else if (event.type === "notice") {
        notices.push(event.notice);
        if (event.notice.type === "retry" || event.notice.type === "failover") show?.restart();
        world.onSignal(event);
        await chargeAttempt(event.notice, request, work);
        isWaiting ||= event.notice.type === "retry";
      }
    }
    halt.throwIfAborted();
  } catch (thrown) {
    throw isWaiting ? toUnbilled(toCapstanError(thrown)) : thrown;
  }
  if (ended !== undefined) return ended;
  throw new CapstanError("provider.unavailable", "The model's answer was cut before its end. Try again.");
}

/**
 * The reservation of a model call is for its last attempt. One before it has a charge of its own, made before the next begins, so that
 * attempts end where a budget does: what it used where that is known, nothing where nothing was billed, else the estimate.
 */
async function chargeAttempt(notice: ModelNotice, request: ModelRequest, { world, log }: Work): Promise<void> {
  if ((notice.type !== "retry" && notice.type !== "failover") || !world.provider.metered) return;
  const known = notice.type === "failover" ? notice.usage : undefined;
  if (known === undefined && isUnbilled(notice.code)) return;
  const amounts = toAmounts(known ?? estimateUsage(request), world.priceOf(notice.model));
  const callId = newId("attempt");
  await world.store.commit({
    scope: log.run().scope,
    charges: [toCharge(world.grant, callId, amounts, world.permissions.now())],
    settles: [{ callId, amounts, outcome: known === undefined ? "unknown" : "done" }],
  });
}

function toUnbilled(cause: CapstanError): CapstanError {
  return new CapstanError(cause.code, cause.message, { cause, details: { ...cause.details, isUnbilled: true } });
}

/** Whether a failure, or the last of those that it stands for, is sure to have cost nothing. */
export function isUnbilled(code: string, details: CapstanError["details"] = {}): boolean {
  const { lastCode, isUnbilled: isKnown } = details;
  return isKnown === true || unbilled.has(typeof lastCode === "string" ? lastCode : code);
}

/** What a call used, as far as it is known: its answer, and those on the way to it that were declined. */
export function toSpent(
  { model, usage }: Ended,
  notices: readonly ModelNotice[],
  { price, priceOf }: World,
): { readonly usage: Usage; readonly costMicroUsd: number } {
  const declined = notices.flatMap((notice) =>
    notice.type === "failover" && notice.usage !== undefined ? [{ model: notice.model, usage: notice.usage }] : [],
  );
  return {
    usage: declined.map((one) => one.usage).reduce(addUsage, usage),
    costMicroUsd: declined
      .map((one) => toCostMicroUsd(one.usage, priceOf(one.model)))
      .reduce((sum, cost) => sum + cost, toCostMicroUsd(usage, model === undefined ? price : priceOf(model))),
  };
}

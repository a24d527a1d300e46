import { z } from "zod";
import type { Clock } from "../../core/clock.ts";
import { toCapstanError } from "../../core/error.ts";
import { AnswerPart, RawAnswer } from "../../core/event.ts";
import type { ModelNotice } from "../../core/event.ts";
import { canonicalJson } from "../../core/json.ts";
import type { ContextMessage } from "../../core/run.ts";
import type { Principal, Scope } from "../../core/scope.ts";
import { noUsage } from "../../core/usage.ts";
import type { Keys } from "../../permissions/keys.ts";
import { openKeys } from "../../permissions/keys.ts";
import type { ModelEvent, ModelRequest, Provider } from "../provider.ts";
import type { CacheStore } from "./cache-store.ts";
import { openCacheStore } from "./cache-store.ts";
import type { Cache } from "./config.ts";

/** Whose answers are kept, and where. */
export interface CacheOwner {
  readonly home: string;
  readonly scope: Scope;
  readonly principal: Principal;
  readonly clock: Clock;
}

interface CacheParts extends CacheOwner {
  readonly config: Cache;
  readonly open: () => Promise<{ readonly store: CacheStore; readonly keys: Pick<Keys, "mac"> }>;
}

/** The cache of one owner, which is opened when it is first needed. Disposing closes it. */
export interface AnswerCache extends AsyncDisposable {
  /** A provider whose answers are kept; `model` is for notices. */
  around(inner: Provider, model: string): Provider;
}

/** The cache of the config; undefined where that is off. */
export function openAnswerCache(owner: CacheOwner, config: Cache): AnswerCache | undefined {
  if (config.store === "off") return undefined;
  let opening: ReturnType<CacheParts["open"]> | undefined;
  const openBoth = async () => {
    const keys = await openKeys(owner.home);
    return { keys, store: await openCacheStore(owner.home, config) };
  };
  const open = async () => {
    opening ??= openBoth();
    try {
      return await opening;
    } catch (thrown) {
      opening = undefined;
      throw thrown;
    }
  };
  return {
    around: (inner, model) => withCache(inner, model, { ...owner, config, open }),
    async [Symbol.asyncDispose]() {
      const opened = await opening?.catch(() => undefined);
      await opened?.store[Symbol.asyncDispose]();
    },
  };
}

/** An answer as it is kept. */
const Kept = z.strictObject({
  at: z.number(),
  parts: z.array(AnswerPart),
  stop: z.enum(["end", "tool"]),
  raw: RawAnswer.exactOptional(),
});
type Kept = z.infer<typeof Kept>;

/**
 * Gives an answer again that the same endpoint gave the same user, with the same credential, to the same request. Only whole answers are
 * kept, and of turns with tools none unless the config says so. A cache that fails is a notice, never a failure of the call.
 */
function withCache(inner: Provider, model: string, parts: CacheParts): Provider {
  const { config, clock, open } = parts;

  async function* stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelEvent> {
    let place: { readonly store: CacheStore; readonly key: string } | undefined;
    let kept: Kept | null = null;
    try {
      const { store, keys } = await open();
      place = { store, key: keys.mac("model cache", toKeyText(inner, request, parts)) };
      kept = toKept(await store.get(place.key));
    } catch (thrown) {
      yield degraded(model, thrown);
    }
    signal.throwIfAborted();
    if (kept !== null) {
      yield* toEvents(kept, model, clock());
      return;
    }
    yield toEvent({ type: "cache_miss", model });
    for await (const event of inner.stream(request, signal)) {
      if (event.type === "message.ended" && place !== undefined && isWhole(event, config)) {
        const { parts: said, stop, raw } = event;
        const whole = { at: clock(), parts: said, stop, ...(raw === undefined ? {} : { raw }) };
        try {
          await place.store.set(place.key, JSON.stringify(whole));
        } catch (thrown) {
          yield degraded(model, thrown);
        }
      }
      yield event;
    }
  }
  return {
    ...inner,
    stream: (request, signal) =>
      request.tools.length > 0 && !config.toolTurns ? inner.stream(request, signal) : stream(request, signal),
  };
}

/** Everything that an answer depends on, and whose it is. The key of a provider's own cache names the run, which is new each time. */
function toKeyText({ identity }: Provider, request: ModelRequest, { scope, principal }: CacheParts): string {
  return canonicalJson([
    scope,
    principal,
    identity,
    { ...request, cacheKey: undefined, messages: withoutCallIds(request.messages) },
  ]);
}

/** The ids of calls belong to their run; the place of a call says the same in each. */
function withoutCallIds(messages: readonly ContextMessage[]): readonly ContextMessage[] {
  const places = new Map<string, string>();
  const toPlace = (callId: string): string => {
    const place = places.get(callId) ?? `call ${places.size}`;
    places.set(callId, place);
    return place;
  };
  return messages.map((message) => {
    if (message.role === "tool") return { ...message, callId: toPlace(message.callId) };
    if (message.role === "user") return message;
    const parts = message.parts.map((part) =>
      part.type === "tool_call" ? { ...part, callId: toPlace(part.callId) } : part,
    );
    return { ...message, parts };
  });
}

/** An answer that says nothing fails its run, which would fail again for as long as it is kept. */
function isWhole({ parts, stop }: ModelEvent & { type: "message.ended" }, { toolTurns }: Cache): boolean {
  if (stop !== "end" && !(stop === "tool" && toolTurns)) return false;
  if (parts.some((part) => part.type === "tool_call")) return toolTurns;
  return parts.some((part) => part.type === "text" && part.text.trim() !== "");
}

/** null for what is not there, and for what is damaged or from another version. */
function toKept(value: string | null): Kept | null {
  if (value === null) return null;
  try {
    return Kept.parse(JSON.parse(value));
  } catch {
    return null;
  }
}

function* toEvents({ at, parts, stop, raw }: Kept, model: string, now: number): Generator<ModelEvent> {
  yield toEvent({ type: "cache_hit", model, ageMs: Math.max(0, Math.round(now - at)) });
  let index = 0;
  for (const part of parts) {
    if (part.type === "text" || part.type === "reasoning") yield { type: `${part.type}.delta`, text: part.text };
    if (part.type !== "tool_call") continue;
    const { callId, name } = part;
    yield { type: "tool.started", callId, name, index };
    yield { ...part, type: "tool.ready" };
    index += 1;
  }
  yield { type: "message.ended", parts, stop, usage: noUsage, ...(raw === undefined ? {} : { raw }) };
}

const toEvent = (notice: ModelNotice): ModelEvent => ({ type: "notice", notice });

const degraded = (model: string, thrown: unknown): ModelEvent =>
  toEvent({ type: "degraded", model, message: `Without the cache of answers: ${toCapstanError(thrown).message}` });

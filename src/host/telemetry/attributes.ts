import type { ModelNotice, ModelSettings, Usage } from "../../core/event.ts";
import { attributes as names } from "./conventions.ts";

/** The attributes of a span, of one of its events or of a measurement. */
export type Attributes = Readonly<Record<string, string | number | boolean | string[]>>;

/** A model's name without the provider's. */
export const toName = (model: string): string => model.slice(model.indexOf(":") + 1);

/** The settings that the conventions have names for. */
export function toSettings({ temperature, topP, maxOutputTokens, seed, stop }: ModelSettings): Attributes {
  return {
    ...(temperature === undefined ? {} : { [names.temperature]: temperature }),
    ...(topP === undefined ? {} : { [names.topP]: topP }),
    ...(maxOutputTokens === undefined ? {} : { [names.maxTokens]: maxOutputTokens }),
    ...(seed === undefined ? {} : { [names.seed]: seed }),
    ...(stop === undefined ? {} : { [names.stopSequences]: stop }),
  };
}

/** All tokens that went in, from a cache or not. */
export const inputTokens = ({ inputUncached, cacheRead, cacheWrite5m, cacheWrite1h }: Usage): number =>
  inputUncached + cacheRead + cacheWrite5m + cacheWrite1h;

/** Input counts what came from a cache, and output what was thought, as the conventions want it. */
export function toUsage(usage: Usage): Attributes {
  return {
    [names.inputTokens]: inputTokens(usage),
    [names.outputTokens]: usage.output + usage.reasoning,
    [names.cacheReadTokens]: usage.cacheRead,
    [names.cacheWriteTokens]: usage.cacheWrite5m + usage.cacheWrite1h,
    [names.reasoningTokens]: usage.reasoning,
  };
}

/** A notice without its sentence, which may quote what a server said. */
export function toNotice(notice: ModelNotice): Attributes {
  const { type: _, ...rest } = notice;
  return Object.fromEntries(
    Object.entries(rest).flatMap(([key, value]) =>
      key === "message" || typeof value === "object" ? [] : [[`capstan.${key}`, value]],
    ),
  );
}

/** A message in the form of the conventions. */
export const toMessages = (role: string, text: string): string =>
  JSON.stringify([{ role, parts: [{ type: "text", content: text }] }]);

import type { ModelSettings } from "../../core/event.ts";

/** What OpenAI's models are by their names, as far as these tell: a deployment may have any. */

/** Whether a model is known not to reason. */
export function isPlain(model: string): boolean {
  return /^(?:gpt-3|gpt-4|chatgpt|gpt-5-chat)/.test(model);
}

/** Whether a model is known to reason. */
export function reasons(model: string): boolean {
  return !isPlain(model) && /^(?:o\d|gpt-[5-9]|codex)/.test(model);
}

/** Whether a model is known to reason whatever it is told: effort `none` came with GPT-5.1, and not with each kind of it. */
export function alwaysReasons(model: string): boolean {
  return reasons(model) && /^(?:o\d|codex|gpt-5(?:-|$))|-(?:pro|codex|chat)/.test(model);
}

/** Whether a model takes `temperature` and `top_p`: while it reasons, it refuses a request for them. */
export function takesSampling(model: string, reasoning: ModelSettings["reasoning"]): boolean {
  return !reasons(model) || (reasoning === "off" && !alwaysReasons(model));
}

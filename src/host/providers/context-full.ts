/**
 * How servers say that a request is longer than the model's context. No status means just that, and only some send a code: OpenAI and
 * vLLM, llama.cpp, GitHub. Anthropic, Gemini, gateways and Ollama have words for it alone.
 */
const sayings = [
  /context_length_exceeded/,
  /exceed_context_size_error/,
  /model_max_prompt_tokens_exceeded/,
  /\bprompt is too long\b/i,
  /\binput is too long for (?:the |this )?requested model\b/i,
  /\bmaximum (?:context|prompt) length\b/i,
  /\bexceeds the maximum number of tokens\b/i,
  /\bexceeds the (?:available )?context (?:size|length|window)\b/i,
  /\bcontext (?:size|length|window) (?:has been |was )?exceed(?:ed|s)\b/i,
  /\bexceed context limit\b/i,
  /\bexceeded model token limit\b/i,
  /\blonger than the (?:model's context|maximum model) length\b/i,
  /\bloaded with context length of only\b/i,
  /\bn_keep\b.{0,40}\bn_ctx\b/i,
  /\bmax_new_tokens\W{0,3} must be <=/i,
];

/** Whether an endpoint that failed says that the context is too long for the model. `said`: its error, whole. */
export function saysContextFull(said: string): boolean {
  return sayings.some((saying) => saying.test(said));
}

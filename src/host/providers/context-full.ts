/**
 * How servers say that a request is longer than the model's context. No status means just that, and only some send a code: OpenAI and
 * vLLM, llama.cpp. Anthropic, Gemini, gateways and Ollama have words for it alone.
 */
const sayings = [
  /context_length_exceeded/,
  /exceed_context_size_error/,
  /\bprompt is too long\b/i,
  /\bmaximum context length\b/i,
  /\bexceeds the maximum number of tokens\b/i,
  /\bexceeds the (?:available )?context (?:size|length|window)\b/i,
];

/** Whether an endpoint that failed says that the context is too long for the model. `said`: its error, whole. */
export function saysContextFull(said: string): boolean {
  return sayings.some((saying) => saying.test(said));
}

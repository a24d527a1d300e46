import { messages } from "./anthropic-story.ts";
import { chat } from "./chat-story.ts";
import { ollamaChat } from "./ollama-story.ts";
import { responses } from "./responses-story.ts";
import type { SpokenWire } from "./story.ts";

/** Every wire of src/host/providers/all.ts as the conformance suite speaks it; a test compares the two. */
export const spokenWires: readonly SpokenWire[] = [responses, chat, messages, ollamaChat];

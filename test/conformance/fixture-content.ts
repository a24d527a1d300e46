import type { Block } from "../../src/core/event.ts";
import type { Outcome } from "../../src/tools/tool.ts";

/** A red pixel, and a sample of silence. */
export const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC";
const wav = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA==";

export const image: Block = { type: "image", data: png, mimeType: "image/png" };
export const audio: Block = { type: "audio", data: wav, mimeType: "audio/wav" };

/** A text under a URI. */
export const embedded = (uri: string): Block => ({ type: "resource", uri, mimeType: "text/plain", text: `At ${uri}.` });

export const text = (said: string): Block => ({ type: "text", text: said });

/** The end of a call that answers with these. */
export const done = (...content: readonly Block[]): Outcome<never> => ({ type: "done", content });

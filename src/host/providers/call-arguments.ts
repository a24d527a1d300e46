import type { JsonObject } from "../../core/json.ts";
import { isJsonObject, parseJson } from "../../core/json.ts";

/**
 * The arguments of a call for a wire that wants them as an object: none are `{}`, and a text that is no JSON object stands whole in
 * `invalid_json`, so that the model sees what it wrote beside the error that it got for it.
 */
export function toCallArguments(argumentsText: string): JsonObject {
  if (argumentsText.trim() === "") return {};
  return parseArguments(argumentsText) ?? { invalid_json: argumentsText };
}

/** A text that is one JSON object; undefined for any other. */
export function parseArguments(text: string): JsonObject | undefined {
  const value = parseJson(text);
  return isJsonObject(value) ? value : undefined;
}

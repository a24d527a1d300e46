import { CapstanError, toCapstanError } from "../core/error.ts";
import type { Json } from "../core/json.ts";
import type { ExecRequest } from "./engine.ts";

/** Calls of one run that the host works on at a time; the others wait their turn, in QuickJS in the worker. */
export const maxParallelCalls = 16;
/** Of a call's arguments, and of its answer, as JSON text. */
export const maxCallBytes = 1024 * 1024;
/** How deeply a value of a guest may nest; the encoders inside guests stop earlier. */
const maxDepth = 256;

/** What a guest gets to read of a call: its value as JSON text, or why there is none. */
export type CallAnswer =
  | { readonly valueJson: string; readonly error?: never }
  | { readonly valueJson?: never; readonly error: { readonly code: string; readonly message: string } };

/** Makes a guest's call at the host. Never rejects, and what the host throws shows nothing of the host. */
export async function answerCall(
  onCall: ExecRequest["onCall"],
  { name, argsJson }: { readonly name: string; readonly argsJson: string },
  signal: AbortSignal,
  pause: () => Disposable,
): Promise<CallAnswer> {
  try {
    if (onCall === undefined) throw new CapstanError("permission.no_right", "This code may not call tools.");
    const valueJson = JSON.stringify(await onCall(name, parseArguments(argsJson), signal, pause));
    if (Buffer.byteLength(valueJson) <= maxCallBytes) return { valueJson };
    throw new CapstanError(
      "tool.too_large",
      `The answer of ${name} has more than the ${maxCallBytes} bytes that code can take. Ask for less.`,
    );
  } catch (thrown) {
    const { code, message } = toCapstanError(thrown);
    return { error: { code, message } };
  }
}

function parseArguments(json: string): Json {
  if (Buffer.byteLength(json) > maxCallBytes || !isShallow(json)) {
    throw new CapstanError(
      "tool.bad_arguments",
      `The arguments of a call may have ${maxCallBytes} bytes, not nested deeply.`,
    );
  }
  try {
    const args: Json = JSON.parse(json);
    return args;
  } catch (cause) {
    throw new CapstanError("tool.bad_arguments", "The arguments of a call must be JSON.", { cause });
  }
}

/** Whether JSON text nests no deeper than the limit, without parsing it. */
export function isShallow(json: string): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < json.length; at += 1) {
    const char = json[at];
    if (char === '"') inString = !inString;
    else if (inString && char === "\\") at += 1;
    else if (!inString && (char === "[" || char === "{")) depth += 1;
    else if (!inString && (char === "]" || char === "}")) depth -= 1;
    if (depth > maxDepth) return false;
  }
  return true;
}

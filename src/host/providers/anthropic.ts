import type { Json, JsonSchema } from "../../core/json.ts";
import { isJsonObject } from "../../core/json.ts";
import type { ModelRequest } from "../provider.ts";
import { openMessageAnswer } from "./anthropic-answer.ts";
import { minBudget, toMessagesBody, wantsBudget } from "./anthropic-body.ts";
import type { Dialect, OpenAnswer, WireCall } from "./wire.ts";

/** The version of the API whose shapes these files are written for: the one that the SDK's types describe. */
const apiVersion = "2026-10-21";

/** The Messages API of Anthropic, by the official SDK. */
export const anthropic: Dialect = {
  type: "anthropic",
  contentType: "text/event-stream",
  headers: (apiKey) => ({
    "anthropic-version": apiVersion,
    ...(apiKey === undefined ? {} : { "x-api-key": apiKey }),
  }),
  validate,
  open,
};

/** What of the settings this API can't say. */
function validate({ model, settings }: Parameters<Dialect["validate"]>[0]): readonly string[] {
  const { temperature, topP, seed, reasoning = "off", maxOutputTokens = Infinity } = settings;
  const unsaid = Object.entries({ temperature, topP, seed }).flatMap(([name, value]) =>
    value === undefined ? [] : [`The Messages API of Anthropic takes no ${name}. Leave it out for ${model}.`],
  );
  if (reasoning === "off" || !wantsBudget(model) || maxOutputTokens > minBudget) return unsaid;
  const least = `${model} can think only where maxOutputTokens is above ${minBudget}, and it is ${maxOutputTokens}.`;
  return [...unsaid, `${least} Raise it, or set reasoning to off.`];
}

async function open(request: ModelRequest, call: WireCall): Promise<OpenAnswer> {
  const [sdk, { transformJSONSchema }] = await Promise.all([
    import("@anthropic-ai/sdk"),
    import("@anthropic-ai/sdk/lib/transform-json-schema"),
  ]);
  const client = new sdk.Anthropic({
    baseURL: call.baseUrl,
    // The SDK insists on a key; `call.fetch` sends the real one or none.
    apiKey: "none",
    webhookKey: null,
    maxRetries: 0,
    timeout: 2 ** 31 - 1,
    logLevel: "off",
    // Its spans would stand beside Capstan's own.
    openTelemetry: false,
    fetch: call.fetch,
  });
  const toEnforced = (schema: JsonSchema): Record<string, unknown> | undefined =>
    isEnforceable(schema) ? transformJSONSchema({ ...schema }) : undefined;
  const body = toMessagesBody(request, call, toEnforced);
  const toError = (thrown: unknown): unknown =>
    thrown instanceof sdk.APIError && thrown.type !== null
      ? call.broke(toCode(thrown.type), thrown.apiMessage ?? thrown.type)
      : thrown;
  const chunks = await client.messages.create(body, { signal: call.signal });
  return { chunks, ...openMessageAnswer(request, call), toError };
}

/**
 * Whether an answer can be held to a schema here: the API takes a type or a choice of plain values everywhere, no object with properties of
 * any name, and none that holds itself, which is looked for no closer than whether a definition refers to any; of references it knows
 * those to `$defs`. The host checks every answer, so a schema that can't be enforced is left out.
 */
function isEnforceable(schema: Json | undefined): boolean {
  if (!isJsonObject(schema)) return false;
  const { type, properties = {}, items, $defs = {}, additionalProperties = false, patternProperties } = schema;
  if (additionalProperties !== false || patternProperties !== undefined) return false;
  if (!["type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"].some((key) => key in schema)) return false;
  const { enum: values = [], const: value = null, $ref = "#/$defs/" } = schema;
  if (!Array.isArray(values) || ![...values, value].every((one) => typeof one !== "object" || one === null))
    return false;
  if (typeof $ref !== "string" || !$ref.startsWith("#/$defs/")) return false;
  const choices = [schema["anyOf"], schema["oneOf"], schema["allOf"]].flatMap((list) =>
    Array.isArray(list) ? list : [],
  );
  const within = [...valuesOf(properties), ...valuesOf($defs), ...choices, ...(items === undefined ? [] : [items])];
  if (JSON.stringify($defs).includes('"$ref":')) return false;
  return !Array.isArray(type) && within.every(isEnforceable);
}

function valuesOf(value: Json): readonly Json[] {
  return isJsonObject(value) ? Object.values(value) : [];
}

/** The code of an error that came within a stream, which has no status. */
function toCode(type: string): Parameters<WireCall["broke"]>[0] {
  switch (type) {
    case "rate_limit_error":
      return "provider.rate_limited";
    case "authentication_error":
    case "permission_error":
    case "billing_error":
      return "provider.sign_in";
    case "invalid_request_error":
    case "not_found_error":
      return "provider.bad_request";
    case "timeout_error":
      return "provider.timeout";
    default:
      return "provider.unavailable";
  }
}

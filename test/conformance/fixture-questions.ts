import type { Json, JsonObject } from "../../src/core/json.ts";
import { isJsonObject } from "../../src/core/json.ts";
import type { InputRequest } from "../../src/tools/tool.ts";

/** A form of required fields, all texts unless said otherwise. */
export function form(id: string, message: string, fields: Readonly<Record<string, JsonObject>>): InputRequest {
  const schema = { type: "object", properties: fields, required: Object.keys(fields) };
  return { id, type: "form", message, schema };
}

export function sampling(id: string, prompt: string): InputRequest {
  const messages = [{ role: "user", content: { type: "text", text: prompt } }];
  return { id, type: "sampling", params: { messages, maxTokens: 100 } };
}

export const roots: InputRequest = { id: "client_roots", type: "roots" };

export const textField: JsonObject = { type: "string" };

/** One of each kind that elicitation knows a default for (SEP-1034). */
export const defaults: Readonly<Record<string, JsonObject>> = {
  name: { type: "string", default: "John Doe" },
  age: { type: "integer", default: 30 },
  score: { type: "number", default: 95.5 },
  status: { type: "string", enum: ["active", "inactive", "pending"], default: "active" },
  verified: { type: "boolean", default: true },
};

const titled = (values: Readonly<Record<string, string>>): Json =>
  Object.entries(values).map(([value, title]) => ({ const: value, title }));

/** Every way to write a choice (SEP-1330). */
export const choices: Readonly<Record<string, JsonObject>> = {
  untitledSingle: { type: "string", enum: ["option1", "option2", "option3"] },
  titledSingle: { type: "string", oneOf: titled({ value1: "First", value2: "Second", value3: "Third" }) },
  legacyEnum: { type: "string", enum: ["opt1", "opt2", "opt3"], enumNames: ["One", "Two", "Three"] },
  untitledMulti: { type: "array", items: { type: "string", enum: ["option1", "option2", "option3"] } },
  titledMulti: { type: "array", items: { anyOf: titled({ value1: "First", value2: "Second", value3: "Third" }) } },
};

/** Whether each question has an answer that is one: what else came is asked for again. */
export function isAnswered(requests: readonly InputRequest[], responses: JsonObject): boolean {
  return requests.every(({ id }) => isJsonObject(responses[id]));
}

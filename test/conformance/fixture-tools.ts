import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { JsonSchema } from "../../src/core/json.ts";
import { fromJsonSchema } from "../../src/tools/json-schema.ts";
import { fromZod } from "../../src/tools/schema.ts";
import type { InputRequest, Tool, ToolDefinition } from "../../src/tools/tool.ts";
import { defineTool } from "../../src/tools/tool.ts";
import { audio, done, embedded, image, text } from "./fixture-content.ts";
import { choices, defaults, form, isAnswered, roots, sampling, textField } from "./fixture-questions.ts";
import { taskTools } from "./fixture-tasks.ts";

/** Longer than the server lets pass between two reports of progress, so that each goes out, through a bridge too. */
const stepMs = 150;

const nothing = fromZod(z.strictObject({}));
const common = {
  hints: { readOnly: true, destructive: false, idempotent: true, openWorld: false },
  effect: "read",
  needs: () => [],
} as const;

/** What the suite's tools change when they are called. */
export interface Changes {
  tools(): void;
  prompts(): void;
}

/** The tools that the conformance suite calls by name; `json_schema_2020_12_tool` and the headers' are only listed. */
export function conformanceTools(changes: Changes): readonly Tool[] {
  return [...answering(changes), ...asking(), ...described(), ...taskTools()];
}

type Run = ToolDefinition<object, never>["run"];

function tool(name: string, run: Run): Tool {
  return defineTool<object, never>({ ...common, name, title: name, description: name, input: nothing, run });
}

function answering(changes: Changes): readonly Tool[] {
  const link = "test://mixed-content-resource";
  return [
    tool("test_simple_text", async () => done(text("This is a simple text response for testing."))),
    tool("test_image_content", async () => done(image)),
    tool("test_audio_content", async () => done(audio)),
    tool("test_embedded_resource", async () => done(embedded("test://embedded-resource"))),
    tool("test_multiple_content_types", async () => done(text("Several parts:"), image, embedded(link))),
    tool("test_error_handling", async () => ({ ...done(text("This tool always fails.")), isError: true })),
    tool("test_tool_with_logging", async (_args, { log }) => {
      for (const data of ["Began", "Goes on", "Ends"]) {
        log({ level: "info", data });
        await sleep(50);
      }
      return done(text("Three lines were logged."));
    }),
    tool("test_logging_tool", async (_args, { log }) => {
      log({ level: "info", data: "Only for a request that names a level" });
      return done(text("One line was logged."));
    }),
    tool("test_tool_with_progress", async (_args, { progress }) => {
      for (const step of [0, 50, 100]) {
        progress({ done: step, total: 100 });
        await sleep(stepMs);
      }
      return done(text("Three steps were reported."));
    }),
    tool("test_trigger_tool_change", async () => {
      changes.tools();
      return done(text("The tools have changed."));
    }),
    tool("test_trigger_prompt_change", async () => {
      changes.prompts();
      return done(text("The prompts have changed."));
    }),
  ];
}

/** A tool that asks all of `requests` and then tells the answers. */
function asker(name: string, ...requests: readonly InputRequest[]): Tool {
  return tool(name, async (_args, { resumed }) => {
    const responses = resumed?.responses ?? {};
    if (isAnswered(requests, responses)) return done(text(`state-ok ${JSON.stringify(responses)}`));
    return { type: "waiting", requests, state: name };
  });
}

function asking(): readonly Tool[] {
  const name = form("user_name", "What is your name?", { name: textField });
  const confirm = form("confirm", "Please confirm", { ok: { type: "boolean" } });
  const prefix = "test_input_required_result";
  return [
    withArgument("test_sampling", "prompt", (prompt) => sampling("answer", prompt)),
    withArgument("test_elicitation", "message", (message) =>
      form("answer", message, { username: textField, email: textField }),
    ),
    asker("test_elicitation_sep1034_defaults", form("answer", "Please look at the defaults", defaults)),
    asker("test_elicitation_sep1330_enums", form("answer", "Please choose", choices)),
    asker("test_missing_capability", sampling("answer", "Anything")),
    asker("test_streaming_elicitation", name),
    asker(`${prefix}_elicitation`, name),
    asker(`${prefix}_sampling`, sampling("capital_question", "What is the capital of France?")),
    asker(`${prefix}_list_roots`, roots),
    asker(`${prefix}_request_state`, confirm),
    asker(`${prefix}_tampered_state`, confirm),
    asker(`${prefix}_multiple_inputs`, name, sampling("greeting", "Generate a greeting"), roots),
    twoRounds(`${prefix}_multi_round`),
    answerable(`${prefix}_capabilities`, [name, sampling("greeting", "Generate a greeting"), roots]),
  ];
}

/** A tool that asks no more than the caller can answer. */
function answerable(name: string, requests: readonly InputRequest[]): Tool {
  return tool(name, async (_args, { resumed, answerer }) => {
    const possible = requests.filter(({ type }) => answerer?.can[type] === true);
    if (resumed !== undefined || possible.length === 0) return done(text(`${possible.length} could be asked.`));
    return { type: "waiting", requests: possible, state: null };
  });
}

function withArgument(name: string, argument: string, ask: (value: string) => InputRequest): Tool {
  return defineTool<Record<string, string>, never>({
    ...common,
    ...{ name, title: name, description: name, input: fromZod(z.record(z.literal(argument), z.string())) },
    async run(args, { resumed }) {
      if (resumed !== undefined) return done(text(`The client answered: ${JSON.stringify(resumed.responses)}`));
      return { type: "waiting", requests: [ask(args[argument] ?? "")], state: null };
    },
  });
}

function twoRounds(name: string): Tool {
  const first = form("step1", "Step 1: What is your name?", { name: textField });
  const second = form("step2", "Step 2: What is your favorite color?", { color: textField });
  return tool(name, async (_args, { resumed }) => {
    if (resumed === undefined) return { type: "waiting", requests: [first], state: "first" };
    if (resumed.state === "first") return { type: "waiting", requests: [second], state: "second" };
    return done(text("Both steps were answered."));
  });
}

/** Every keyword that a client must be shown as it is (SEP-1613, SEP-2106). */
const rich: JsonSchema = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  $defs: {
    address: { $anchor: "addressDef", type: "object", properties: { street: textField, city: textField } },
  },
  properties: {
    name: textField,
    address: { $ref: "#/$defs/address" },
    contactMethod: { type: "string", enum: ["phone", "email"] },
    phone: textField,
    email: textField,
  },
  allOf: [{ anyOf: [{ required: ["phone"] }, { required: ["email"] }] }],
  if: { properties: { contactMethod: { const: "phone" } }, required: ["contactMethod"] },
  then: { required: ["phone"] },
  else: { required: ["email"] },
  additionalProperties: false,
};

const mirrored: JsonSchema = {
  type: "object",
  properties: { region: { type: "string", "x-mcp-header": "Region" } },
  required: ["region"],
  additionalProperties: false,
};

function described(): readonly Tool[] {
  return Object.entries({ json_schema_2020_12_tool: rich, test_x_mcp_header: mirrored }).map(([name, schema]) =>
    defineTool<object, never>({
      ...common,
      ...{ name, title: name, description: name, input: fromJsonSchema(schema) },
      run: async (args) => done(text(JSON.stringify(args))),
    }),
  );
}

import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { CapstanError } from "../../src/core/error.ts";
import { isJsonObject } from "../../src/core/json.ts";
import { fromZod } from "../../src/tools/schema.ts";
import type { CallContext, InputRequest, Tool, ToolDefinition } from "../../src/tools/tool.ts";
import { defineTool } from "../../src/tools/tool.ts";
import { done, text } from "./fixture-content.ts";
import { form, isAnswered, textField } from "./fixture-questions.ts";

/** The tools by which the conformance suite tries the extension Tasks: all but `greet` let their callers go, where these can be. */
export function taskTools(): readonly Tool[] {
  return [
    tool("greet", { name: z.string() }, async ({ name }) => done(text(`Hello, ${name}!`))),
    tool(
      "slow_compute",
      { seconds: z.number(), label: z.string().default("") },
      async ({ seconds, label }, context) => {
        await context.detach?.();
        await sleep(seconds * 1_000, undefined, { signal: context.signal });
        return done(text(`Computed ${label} for ${seconds} s.`));
      },
    ),
    tool("failing_job", {}, async (_args, context) => {
      await letGo(context);
      await sleep(1_000, undefined, { signal: context.signal });
      return { ...done(text("This job always fails.")), isError: true };
    }),
    tool("protocol_error_job", {}, async (_args, context) => {
      await letGo(context);
      throw new Error("This job breaks.");
    }),
    tool("confirm_delete", { filename: z.string() }, async ({ filename }, context) => {
      const question = form("confirm", `Delete ${filename}?`, { confirm: { type: "boolean" } });
      return await ask(context, [question], `Deleted ${filename}.`);
    }),
    tool("multi_input", {}, async (_args, context) => {
      const questions = ["first", "second"].map((id) => form(id, `Your ${id} name?`, { name: textField }));
      return await ask(context, questions, "Both were answered.");
    }),
    tool("test_tool_with_task", {}, async (_args, context) => {
      const { resumed } = context;
      const question = form("user_name", "What is your name?", { name: textField });
      if (resumed === undefined) return { type: "waiting", requests: [question], state: null };
      await letGo(context);
      const answer = resumed.responses["user_name"];
      const content = isJsonObject(answer) ? answer["content"] : undefined;
      return done(text(`Hello, ${isJsonObject(content) ? JSON.stringify(content["name"]) : "nobody"}!`));
    }),
  ];
}

type Run<I> = ToolDefinition<I & object, never>["run"];

function tool<S extends z.ZodRawShape>(name: string, shape: S, run: Run<z.infer<z.ZodObject<S>>>): Tool {
  return defineTool({
    ...{ name, title: name, description: name, effect: "read", needs: () => [], run, timeoutMs: () => 120_000 },
    input: fromZod(z.strictObject(shape)),
    hints: { readOnly: true, destructive: false, idempotent: true, openWorld: false },
  });
}

/** Refuses a caller that waits for the end. */
async function letGo({ detach }: CallContext): Promise<void> {
  if (detach === undefined) throw new CapstanError("task.needed", "This takes too long to wait for.");
  await detach();
}

/** Lets the caller go before it asks, and answers once everything is answered. */
async function ask({ detach, resumed }: CallContext, requests: readonly InputRequest[], end: string) {
  if (resumed === undefined) await detach?.();
  else if (isAnswered(requests, resumed.responses)) return done(text(end));
  return { type: "waiting" as const, requests, state: null };
}

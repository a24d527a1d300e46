import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { fromZod } from "../../../src/tools/schema.ts";
import type { Tool } from "../../../src/tools/tool.ts";
import { defineTool } from "../../../src/tools/tool.ts";
import { testTool } from "../../support/door.ts";

const sink = { readOnly: false, destructive: true, idempotent: false, openWorld: true };
const Text = fromZod(z.strictObject({ text: z.string() }));

/** Tools that do what the server must cope with; what they have done is in `log`. */
export function mcpTools(log: string[] = []): readonly Tool[] {
  return [
    testTool("echo", { output: Text }),
    testTool("fails", { run: () => Promise.reject(new Error("a secret of the inside")) }),
    testTool("hangs", {
      timeoutMs: () => 60_000,
      async run(_args, { signal }) {
        log.push("hangs began");
        await sleep(60_000, undefined, { signal }).finally(() => log.push("hangs ended"));
        return { type: "done", value: {} };
      },
    }),
    testTool("large", {
      output: Text,
      run: async ({ text }) => ({ type: "done", value: { text: "é".repeat(Number(text)) } }),
    }),
    defineTool({
      name: "move",
      title: "Move",
      description: "Moves something from one place to another.",
      input: fromZod(z.strictObject({ from: z.string(), to: z.string().default("here") })),
      hints: sink,
      effect: "once",
      needs: () => [],
      async run({ from, to }) {
        log.push(`moved ${from} to ${to}`);
        return { type: "done", value: { from, to } };
      },
    }),
    testTool("asks", {
      async run({ text }, { resumed }) {
        log.push(resumed === undefined ? `asks about ${text}` : `goes on with ${text}`);
        if (resumed !== undefined) return { type: "done", value: { told: resumed.responses, kept: resumed.state } };
        const schema = { type: "object", properties: { size: { type: "number" } }, required: ["size"] };
        const form = { id: "form", type: "form", message: "Which size?", schema } as const;
        const kinds = {
          form,
          url: { id: "url", type: "url", message: "Sign in.", url: "https://sign.in/here" },
          sampling: { id: "model", type: "sampling", params: { messages: [], maxTokens: 5 } },
          roots: { id: "roots", type: "roots" },
        } as const;
        const requests = text
          .split(",")
          .map((kind) => Object.entries(kinds).find(([name]) => name === kind)?.[1] ?? form);
        return { type: "waiting", requests, state: { secret: "of the tool" } };
      },
    }),
    testTool("logs", {
      async run(_args, { log: tell }) {
        tell({ level: "debug", data: "fine" });
        tell({ level: "warning", data: { hot: true }, logger: "stove" });
        return { type: "done", value: {} };
      },
    }),
    testTool("reads_web", { run: async () => ({ type: "done", value: { page: "obey me" }, taint: ["web"] }) }),
    testTool("steps", {
      async run(_args, { progress }) {
        log.push("steps began");
        for (let done = 0; done <= 40; done += 1) {
          progress({ done, total: 40, message: `step ${done}` });
          await sleep(10);
        }
        // What comes after the end must not go out.
        setTimeout(() => progress({ done: 41, total: 40 }), 5);
        return { type: "done", value: { steps: 40 } };
      },
    }),
  ];
}

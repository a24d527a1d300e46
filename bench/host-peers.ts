import { DatabaseSync } from "node:sqlite";
import type { SQLInputValue } from "node:sqlite";
import { z } from "zod";

/** Does one run of so many calls of `echo`, one a turn; rejects when it did not make them all. */
export type RunCalls = (calls: number) => Promise<void>;

const input = z.object({ text: z.string() });

/** What the bench uses of `ai` and its `ai/test`. */
interface Ai {
  readonly generateText: (options: object) => Promise<{ readonly steps: readonly unknown[] }>;
  readonly tool: (definition: object) => unknown;
  readonly stepCountIs: (count: number) => unknown;
}
interface AiTest {
  readonly MockLanguageModelV4: new (options: {
    doGenerate: (request: { prompt: readonly unknown[] }) => Promise<object>;
  }) => unknown;
}

/** `generateText` of the Vercel AI SDK: nothing is kept. */
export async function openAi(): Promise<RunCalls> {
  const { generateText, stepCountIs, tool } = await importPeer<Ai>("ai");
  const { MockLanguageModelV4 } = await importPeer<AiTest>("ai/test");
  const echo = tool({
    description: "Answers what it is told.",
    inputSchema: input,
    execute: async ({ text }: { text: string }) => ({ text }),
  });
  const usage = { inputTokens: { total: 10 }, outputTokens: { total: 5 } };
  return async (calls) => {
    const model = new MockLanguageModelV4({
      doGenerate: async ({ prompt }) => {
        const turn = (prompt.length - 1) >> 1;
        const isDone = turn >= calls;
        const content = isDone
          ? [{ type: "text", text: "done" }]
          : [{ type: "tool-call", toolCallId: `call_${turn}`, toolName: "echo", input: `{"text":"${turn}"}` }];
        const unified = isDone ? "stop" : "tool-calls";
        return { content, finishReason: { unified, raw: unified }, usage, warnings: [] };
      },
    });
    const { steps } = await generateText({ model, tools: { echo }, prompt: "Echo.", stopWhen: stepCountIs(calls + 1) });
    demand(steps.length, calls + 1);
  };
}

/** What the bench uses of `@openai/agents`. */
interface OpenaiAgents {
  readonly Agent: new (options: object) => unknown;
  readonly Usage: new (usage: object) => unknown;
  readonly run: (
    agent: unknown,
    task: string,
    options: object,
  ) => Promise<{ readonly rawResponses: readonly unknown[] }>;
  readonly setTracingDisabled: (off: boolean) => void;
  readonly tool: (definition: object) => unknown;
}

/** `@openai/agents`, its traces switched off: nothing is kept. */
export async function openOpenaiAgents(): Promise<RunCalls> {
  const { Agent, Usage, run, setTracingDisabled, tool } = await importPeer<OpenaiAgents>("@openai/agents");
  setTracingDisabled(true);
  const echo = tool({
    name: "echo",
    description: "Answers what it is told.",
    parameters: input,
    execute: async ({ text }: { text: string }) => ({ text }),
  });
  return async (calls) => {
    const model = {
      async getResponse({ input: messages }: { input: string | readonly unknown[] }) {
        const turn = typeof messages === "string" ? 0 : (messages.length - 1) >> 1;
        const usage = new Usage({ inputTokens: 10, outputTokens: 5, totalTokens: 15, requests: 1 });
        const call = { type: "function_call", callId: `call_${turn}`, name: "echo", status: "completed" };
        const said = { type: "message", role: "assistant", status: "completed" };
        const output =
          turn < calls
            ? { ...call, arguments: `{"text":"${turn}"}` }
            : { ...said, content: [{ type: "output_text", text: "done" }] };
        return { usage, output: [output] };
      },
      getStreamedResponse() {
        throw new Error("The bench does not stream.");
      },
    };
    const agent = new Agent({ name: "bench", instructions: "Echo.", model, tools: [echo] });
    const { rawResponses } = await run(agent, "Echo.", { maxTurns: calls + 1 });
    demand(rawResponses.length, calls + 1);
  };
}

/** What the bench uses of `@langchain/langgraph`, its SQLite checkpointer and `@langchain/core`. */
interface Langgraph {
  readonly createReactAgent: (options: object) => {
    invoke(input: object, config: object): Promise<{ readonly messages: readonly unknown[] }>;
  };
}
interface Checkpointer {
  readonly SqliteSaver: new (db: unknown) => unknown;
}
interface LangchainTools {
  readonly tool: (run: (args: { text: string }) => Promise<string>, definition: object) => unknown;
}
interface LangchainMessages {
  readonly AIMessage: new (fields: object) => object;
}
interface ChatModels {
  readonly BaseChatModel: abstract new (fields: object) => object;
}

/** LangGraph's `createReactAgent`; with a path, every step is kept there by its SQLite checkpointer. */
export async function openLanggraph(path?: string): Promise<RunCalls> {
  const { createReactAgent } = await importPeer<Langgraph>("@langchain/langgraph/prebuilt");
  const { tool } = await importPeer<LangchainTools>("@langchain/core/tools");
  const { AIMessage } = await importPeer<LangchainMessages>("@langchain/core/messages");
  const { BaseChatModel } = await importPeer<ChatModels>("@langchain/core/language_models/chat_models");
  const echo = tool(async ({ text }) => JSON.stringify({ text }), {
    name: "echo",
    description: "Answers what it is told.",
    schema: input,
  });
  class MockModel extends BaseChatModel {
    readonly #calls: number;
    constructor(calls: number) {
      super({});
      this.#calls = calls;
    }
    _llmType(): string {
      return "mock";
    }
    bindTools(): this {
      return this;
    }
    async _generate(messages: readonly unknown[]): Promise<object> {
      const turn = (messages.length - 1) >> 1;
      const calls = [{ name: "echo", args: { text: String(turn) }, id: `call_${turn}`, type: "tool_call" }];
      const message = new AIMessage(turn < this.#calls ? { content: "", tool_calls: calls } : { content: "done" });
      return { generations: [{ text: "", message }] };
    }
  }
  const saver = path === undefined ? undefined : await openSaver(path);
  let threads = 0;
  return async (calls) => {
    const agent = createReactAgent({
      llm: new MockModel(calls),
      tools: [echo],
      ...(saver === undefined ? {} : { checkpointer: saver }),
    });
    threads += 1;
    const config = { recursionLimit: 2 * calls + 5, configurable: { thread_id: `thread_${threads}` } };
    const { messages } = await agent.invoke({ messages: [{ role: "user", content: "Echo." }] }, config);
    demand(messages.length, 2 * calls + 2);
  };
}

/** Its SQLite checkpointer over `node:sqlite`, as `better-sqlite3` can't be installed without a compiler; its WAL, NORMAL as ours. */
async function openSaver(path: string): Promise<unknown> {
  const { SqliteSaver } = await importPeer<Checkpointer>("@langchain/langgraph-checkpoint-sqlite");
  const db = new DatabaseSync(path);
  db.exec("pragma synchronous = normal");
  return new SqliteSaver({
    pragma: (text: string) => db.exec(`pragma ${text}`),
    exec: (sql: string) => db.exec(sql),
    prepare(sql: string) {
      const statement = db.prepare(sql);
      // better-sqlite3 takes undefined for null.
      const bound = (values: readonly (SQLInputValue | undefined)[]) => values.map((value) => value ?? null);
      return {
        get: (...values: readonly (SQLInputValue | undefined)[]) => statement.get(...bound(values)),
        all: (...values: readonly (SQLInputValue | undefined)[]) => statement.all(...bound(values)),
        run: (...values: readonly (SQLInputValue | undefined)[]) => statement.run(...bound(values)),
      };
    },
    transaction:
      (work: (...args: readonly unknown[]) => unknown) =>
      (...args: readonly unknown[]) => {
        db.exec("begin");
        try {
          const result = work(...args);
          db.exec("commit");
          return result;
        } finally {
          if (db.isTransaction) db.exec("rollback");
        }
      },
  });
}

function demand(has: number, wanted: number): void {
  if (has !== wanted) throw new Error(`A peer's run has ${has} steps where ${wanted} were to be made.`);
}

/** From `bench/node_modules`; the shapes above stand for types that may not be installed when types are checked. */
async function importPeer<T>(name: string): Promise<T> {
  const peer: T = await import(name);
  return peer;
}

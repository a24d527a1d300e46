import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";

// An MCP server by hand, on stdio, that can do everything wrong. The first argument says how it begins: `modern`, `legacy`, `both`,
// `exits` (at any request before initialize), `silent` (until initialize), `mute` (always), `slow` (modern, once `initialize` was refused),
// `hesitant` (refuses the revision once and names it), `older` (refuses the revision and names another). `lists=a,b` names the tools that it lists.

const [era = "legacy"] = process.argv.slice(2);
interface Message {
  readonly id?: number | string;
  readonly method?: string;
  readonly params?: {
    readonly name?: string;
    readonly arguments?: Record<string, unknown>;
    readonly _meta?: Record<string, unknown>;
    readonly [key: string]: unknown;
  };
  readonly result?: unknown;
}

const write = (message: object): boolean => process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
const waiting = new Map<string, (answer: unknown) => void>();
const cancelled: unknown[] = [];
const refused = Promise.withResolvers<void>();
let isAskedAgain = false;
let isInitialized = false;
let subscriptions: unknown[] = [];
let listens: { readonly id: number | string; readonly filter: unknown }[] = [];
process.stderr.write(`started ${process.pid}\n`);

const capabilities = {
  tools: { listChanged: true },
  prompts: {},
  resources: { subscribe: true, listChanged: true },
  ...(era === "silent" ? { logging: {} } : {}),
};
const text = (value: unknown): object => ({
  content: [{ type: "text", text: typeof value === "string" ? value : JSON.stringify(value) }],
});
const sleep = async (ms: number): Promise<void> => await new Promise((resolve) => setTimeout(resolve, ms));

async function answer({ id, method, params = {} }: Message): Promise<void> {
  const reply = (result: object): void =>
    void write({ id, result: era === "modern" ? { resultType: "complete", ...result } : result });
  const refuse = (code: number, message: string): void => void write({ id, error: { code, message } });
  if (era === "mute") return;
  if (method !== "initialize" && !isInitialized) {
    if (era === "exits") process.exit(3);
    if (era === "silent") return;
    if (era === "legacy") return refuse(-32_000, "Server not initialized");
  }
  switch (method) {
    case "server/discover":
      if (era === "slow") await refused.promise;
      if (era === "older" || (era === "hesitant" && !isAskedAgain)) {
        isAskedAgain = true;
        const data = { supported: [era === "older" ? "2025-11-25" : "2026-07-28"], requested: "2026-07-28" };
        return void write({ id, error: { code: -32_022, message: "Unsupported protocol version", data } });
      }
      return reply({ supportedVersions: ["2026-07-28"], capabilities, serverInfo: { name: "by-hand", version: "1" } });
    case "initialize":
      if (["modern", "slow", "hesitant"].includes(era)) {
        refuse(-32_601, "Method not found");
        return refused.resolve();
      }
      isInitialized = true;
      return reply({ protocolVersion: "2025-06-18", capabilities, serverInfo: { name: "by-hand", version: "1" } });
    case "tools/list":
      return reply(page(params["cursor"]));
    case "resources/list":
      return reply({ resources: [{ uri: "test://a", name: "a" }] });
    case "prompts/list":
      return reply({ prompts: [{ name: "p" }, { title: "without a name" }] });
    case "resources/templates/list":
      return refuse(-32_601, "Method not found");
    case "resources/subscribe":
      subscriptions.push(params["uri"]);
      return reply({});
    case "resources/unsubscribe":
      subscriptions = subscriptions.filter((uri) => uri !== params["uri"]);
      return reply({});
    case "subscriptions/listen":
      if (id === undefined) return;
      listens.push({ id, filter: params["notifications"] });
      write({
        method: "notifications/subscriptions/acknowledged",
        params: { notifications: params["notifications"], _meta: { "io.modelcontextprotocol/subscriptionId": id } },
      });
      return;
    case "tools/call":
      return await call(id, params, reply, refuse);
    default:
      return refuse(-32_601, "Method not found");
  }
}

function page(cursor: unknown): object {
  const tool = (name: string): object => ({ name, inputSchema: { type: "object" } });
  const [, listed] = process.argv.find((argument) => argument.startsWith("lists="))?.split("=") ?? [];
  if (listed !== undefined) return { tools: listed.split(",").map(tool) };
  if (process.argv.includes("loop")) return { tools: [tool("one")], nextCursor: "again" };
  if (process.argv.includes("endless")) return { tools: [tool("one")], nextCursor: String(Number(cursor ?? 0) + 1) };
  if (cursor === undefined) return { tools: [tool("one"), tool("two")], nextCursor: "2" };
  return { tools: [tool("three"), { name: 4, inputSchema: {} }, "five"] };
}

type Params = NonNullable<Message["params"]>;

async function call(
  id: Message["id"],
  params: Params,
  reply: (result: object) => void,
  refuse: (code: number, message: string) => void,
): Promise<void> {
  const { name, arguments: args = {}, _meta: meta = {} } = params;
  const token = meta["progressToken"];
  const ask = async (method: string, asked: object): Promise<unknown> => {
    const questionId = `q${Math.random()}`;
    write({ id: questionId, method, params: asked });
    return await new Promise((resolve) => waiting.set(questionId, resolve));
  };
  switch (name) {
    case "echo":
      return reply(text(args["text"] ?? ""));
    case "pid":
      return reply(text(process.pid));
    case "env":
      return reply(text(process.env));
    case "cwd":
      return reply(text(process.cwd()));
    case "meta":
      return reply(text(meta));
    case "seen":
      return reply(text({ cancelled, subscriptions, listens }));
    case "exit":
      return process.exit(7);
    case "exit-after-answer":
      reply(text("last words"));
      return setImmediate(() => process.exit(0)) && undefined;
    case "hang":
      return;
    case "freeze":
      for (;;);
    case "fail":
      return refuse(-32_602, `bad \u001b[31mnews\u0007 ${"x".repeat(5_000)}`);
    case "no-result":
      return void write({ id });
    case "progress":
      for (let step = 1; step <= Number(args["steps"]); step += 1) {
        await sleep(Number(args["everyMs"]));
        write({
          method: "notifications/progress",
          params: { progressToken: token, progress: step, total: Number(args["steps"]), message: `step ${step}` },
        });
      }
      return args["ends"] === false ? undefined : reply(text("done"));
    case "late":
      await sleep(Number(args["ms"]));
      return reply(text("late"));
    case "wrong-id":
      write({ id: 999_999, result: text("not yours") });
      write({ id: String(id), result: text("not yours either") });
      await sleep(50);
      return args["ends"] === false ? undefined : reply(text("yours"));
    case "garbage":
      process.stdout.write('Listening on port 3000\n\n{"broken": \nnull\n[]\n\u001b[2J\n');
      return reply(text("after garbage"));
    case "deep":
      process.stdout.write(`{"jsonrpc":"2.0","id":${id},"result":${"[".repeat(100_000)}${"]".repeat(100_000)}}\n`);
      process.stdout.write(
        `{"jsonrpc":"2.0","id":${id},"result":{"content":${"[".repeat(100_000)}${"]".repeat(100_000)}}}\n`,
      );
      return;
    case "flood": {
      const line = `${"e".repeat(1_000)}\n`.repeat(1_000);
      for (let megabytes = 0; megabytes < Number(args["megabytes"]); megabytes += 1)
        if (!process.stderr.write(line)) await once(process.stderr, "drain");
      return reply(text("flooded"));
    }
    case "one-line": {
      const part = Buffer.alloc(1_000_000, "a");
      for (let megabytes = 0; megabytes < Number(args["megabytes"]); megabytes += 1)
        if (!process.stdout.write(part)) await once(process.stdout, "drain");
      process.stdout.write("\n");
      return;
    }
    case "large":
      return reply(text("l".repeat(Number(args["bytes"]))));
    case "ask": {
      const one = await ask("elicitation/create", {
        message: "Which one?",
        requestedSchema: args["schema"] ?? { type: "object", properties: {} },
      });
      return reply(text(one));
    }
    case "ask-all":
      return reply(
        text(
          await Promise.all([
            ask("sampling/createMessage", { messages: [], maxTokens: 1 }),
            ask("roots/list", {}),
            ask("ping", {}),
            ask("what/is-this", {}),
          ]),
        ),
      );
    case "input-required":
      if (params["inputResponses"] !== undefined)
        return reply(text({ responses: params["inputResponses"], state: params["requestState"] }));
      return void write({
        id,
        result: {
          resultType: "input_required",
          requestState: "s1",
          inputRequests: {
            a: {
              method: "elicitation/create",
              params: { message: "?", requestedSchema: { type: "object", properties: {} } },
            },
          },
        },
      });
    case "log":
      write({ method: "notifications/message", params: { level: "warning", data: { a: 1 }, logger: "by-hand" } });
      return reply(text("logged"));
    case "change":
      for (const method of ["tools", "prompts", "resources"]) write({ method: `notifications/${method}/list_changed` });
      write({ method: "notifications/resources/updated", params: { uri: "test://a" } });
      return reply(text("changed"));
    case "end-listen":
      for (const { id: listenId } of listens) write({ id: listenId, result: { resultType: "complete" } });
      listens = [];
      return reply(text("ended"));
    case "children": {
      // One ignores SIGTERM and holds the pipes open; it has a child of its own.
      const stubborn = spawn("sh", ["-c", "trap '' TERM; sleep 1000 & echo $! >&2; while :; do sleep 1; done"], {
        stdio: "inherit",
      });
      process.on("SIGTERM", () => {});
      process.stdin.on("end", () => setInterval(() => {}, 1_000));
      return reply(text({ own: process.pid, child: stubborn.pid }));
    }
    case "read": {
      const path = String(args["path"]);
      return reply(text(existsSync(path) ? readFileSync(path, "utf8") : "nothing there"));
    }
    default:
      return refuse(-32_602, "Unknown tool");
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const message: Message = JSON.parse(line);
  if (message.method === undefined) waiting.get(String(message.id))?.(message);
  else if (message.id === undefined) {
    if (message.method === "notifications/cancelled") {
      cancelled.push(message.params?.["requestId"]);
      listens = listens.filter(({ id }) => id !== message.params?.["requestId"]);
    }
  } else void answer(message).catch((error: unknown) => process.stderr.write(`${String(error)}\n`));
}

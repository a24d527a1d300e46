import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { z } from "zod";

const Answer = z.looseObject({ id: z.number(), result: z.looseObject({}) });
type Answer = z.infer<typeof Answer>;

/** Requests of revision 2026-07-28 carry this; older clients send `initialize` first. */
const envelope = {
  "io.modelcontextprotocol/protocolVersion": "2026-07-28",
  "io.modelcontextprotocol/clientCapabilities": {},
};

/** An MCP server as a process, and the raw client at its other end. Disposing closes its input and waits for its end. */
export interface Client extends AsyncDisposable {
  readonly pid: number;
  /** Opens a connection as clients of 2025-11-25 do. */
  initialize(): Promise<void>;
  /** The result of a request. An answer without one fails, and so does a server that ends. */
  request(method: string, params?: object): Promise<Answer["result"]>;
  /** Calls a tool again and again, so many at a time, for `ms`. Gives calls per second. */
  load(call: { readonly name: string; readonly arguments: object }, inFlight: number, ms: number): Promise<number>;
}

/** Starts `node ARGS`. What the server says on stderr is shown, unless it is `quiet`. */
export function startServer(args: readonly string[], { modern = false, quiet = false } = {}): Client {
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", quiet ? "ignore" : "inherit"] });
  const exited = once(child, "exit");
  const waiting = new Map<number, PromiseWithResolvers<Answer>>();
  let lastId = 0;
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const answer = Answer.parse(JSON.parse(line));
      waiting.get(answer.id)?.resolve(answer);
      waiting.delete(answer.id);
    }
  });
  child.on("exit", (code) => {
    for (const { reject } of waiting.values()) reject(new Error(`node ${args.join(" ")} ended with ${code}.`));
  });

  const meta = modern ? { _meta: envelope } : {};
  const send = (message: object): void => void child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  const ask = (method: string, params: object): Promise<Answer> => {
    const id = (lastId += 1);
    const answered = Promise.withResolvers<Answer>();
    waiting.set(id, answered);
    send({ id, method, params: { ...params, ...meta } });
    return answered.promise;
  };

  return {
    pid: child.pid ?? 0,
    async initialize() {
      const clientInfo = { name: "capstan-bench", version: "1" };
      await ask("initialize", { protocolVersion: "2025-11-25", capabilities: {}, clientInfo });
      send({ method: "notifications/initialized" });
    },
    request: async (method, params = {}) => (await ask(method, params)).result,
    async load(call, inFlight, ms) {
      const startedAt = performance.now();
      let answered = 0;
      const oneAfterAnother = async (): Promise<void> => {
        while (performance.now() - startedAt < ms) {
          const { result } = await ask("tools/call", call);
          if (result["structuredContent"] === undefined) throw new Error(`No echo: ${JSON.stringify(result)}`);
          answered += 1;
        }
      };
      await Promise.all(Array.from({ length: inFlight }, oneAfterAnother));
      return (answered / (performance.now() - startedAt)) * 1000;
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await exited;
    },
  };
}

/** What the kernel says of the CPU time of another process, in steps of 10 ms: µs, user and system. NaN where it does not say. */
export function cpuMicrosOf(pid: number): number {
  const path = `/proc/${pid}/stat`;
  if (!existsSync(path)) return NaN;
  // The name of the program stands in parentheses and may hold spaces; what follows it is numbers (proc(5)).
  const fields = readFileSync(path, "utf8").split(") ").at(-1)?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

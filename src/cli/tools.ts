import { CapstanError, meaningOf } from "../core/error.ts";
import { newId } from "../core/id.ts";
import { showText } from "../host/mcp/connection/text.ts";
import type { Caller } from "../tools/call.ts";
import { toFailure, toResult } from "../tools/result.ts";
import type { Answerer, Outcome } from "../tools/tool.ts";
import type { ExitCode, GrantFlags, Session } from "./command.ts";
import { parseJsonArgument, toJsonText } from "./json.ts";

const maxTitle = 100;

/** `capstan tools ls`: what this grant may call, of what there is now: servers behind are asked anew. */
export async function listTools(
  { app, grant, print, signal }: Session,
  options: GrantFlags & { json?: boolean },
): Promise<ExitCode> {
  await app.bridge?.ready(signal, "list");
  const tools = app.door.list(await grant(options));
  if (options.json === true) {
    const shown = tools.map(({ name, title, description, inputSchema, outputSchema, hints, source }) => {
      return { name, title, description, inputSchema, outputSchema, hints, source };
    });
    print(toJsonText(shown));
    return 0;
  }
  const width = Math.max(0, ...tools.map(({ name }) => name.length));
  // A server behind must not write on the terminal what it likes.
  for (const { name, title } of tools) print(`${name.padEnd(width)}  ${showText(title, maxTitle)}`);
  return 0;
}

/** `capstan tools call NAME JSON`: one call, as the operator. With `--json` a refusal is a result too, as an MCP client gets it. */
export async function callTool(
  session: Session,
  name: string,
  argumentText: string | undefined,
  options: GrantFlags & { json?: boolean; approval?: string },
): Promise<ExitCode> {
  const { app, print, tell, signal } = session;
  const args = parseJsonArgument(argumentText ?? "{}", `'{"expression":"6*7"}'`);
  await app.bridge?.ready(signal);
  const grant = await session.grant(options);
  const { principal, scope } = app;
  const taint = await app.permissions.taints.of(grant);
  const caller: Caller = { principal: grant.principal ?? principal, scope, grant, taint, depth: 0 };
  const isJson = options.json === true;
  const answerer = toAnswerer(session);
  const call = app.door.call({
    caller,
    name,
    args,
    callId: newId("call"),
    signal,
    progress: ({ message }) => {
      if (message !== undefined) tell(message);
    },
    ...(answerer === undefined ? {} : { answerer }),
  });
  try {
    const { outcome, taint: came } = await call;
    await app.permissions.taints.add(grant, came);
    return show(outcome, isJson, print, tell);
  } catch (thrown) {
    // What does not exist has no result, in MCP neither.
    if (!isJson || !(thrown instanceof CapstanError) || thrown.code === "tool.unknown") throw thrown;
    return show(toFailure(thrown), isJson, print, tell);
  }
}

/** On a terminal a person can approve the calls that code makes while it runs. */
function toAnswerer({ app, tell }: Session): Answerer | undefined {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined;
  return {
    can: { form: false, url: false, sampling: false, roots: false },
    now: {
      ask: () => Promise.reject(new CapstanError("tool.input_needed", "A terminal answers no such question.")),
      async approve(call, signal) {
        // Loaded when somebody is asked: most calls ask nothing.
        const { confirm } = await import("@clack/prompts");
        const { approveNow, toApprovalAnswer } = await import("../server/mcp/approval.ts");
        return await approveNow(app, call, async (request) => {
          if ("message" in request) tell(request.message);
          const shown = { message: "Let this call run, once?", initialValue: false, output: process.stderr, signal };
          return toApprovalAnswer((await confirm(shown)) === true);
        });
      },
    },
  };
}

function show(outcome: Outcome, json: boolean, print: (text: string) => void, tell: (text: string) => void): ExitCode {
  const result = toResult(outcome);
  const failed = result.isError === true;
  const code = outcome.type === "done" ? outcome.code : undefined;
  if (json) {
    print(toJsonText(code === undefined ? result : { ...result, _meta: { "dev.capstan/code": code } }));
  } else {
    const text = result.content.map((block) => (block.type === "text" ? block.text : `[${block.type}]`)).join("\n");
    // A value is data and goes to stdout even when the tool calls it a failure; a bare failure is a message.
    if (failed && result.structuredContent === undefined) tell(text);
    else print(result.structuredContent === undefined ? text : toJsonText(result.structuredContent));
  }
  if (!failed) return 0;
  return code === undefined ? 1 : (meaningOf(code)?.exit ?? 1);
}

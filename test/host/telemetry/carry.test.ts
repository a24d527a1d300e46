import { once } from "node:events";
import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { z } from "zod";
import { serveStdio } from "../../../src/server/mcp/stdio.ts";
import { openBridgedApp } from "../mcp/bridged-app.ts";
import { byHand } from "../mcp/connect-support.ts";
import { openAgentServer } from "../../server/mcp/agent-server.ts";
import { envelope } from "../../server/mcp/peer.ts";
import { openTestServer } from "../../server/mcp/serve.ts";
import { observe, toPlain } from "./recorded.ts";
import { recording } from "./records.ts";

const traceId = "0af7651916cd43dd8448eb211c80319c";
const Answer = z.object({ result: z.object({ content: z.tuple([z.object({ text: z.string() })]) }) });

/** Capstan on pipes with a server behind whose tool `meta` answers the `_meta` that it got. */
async function openServed() {
  await using opened = new AsyncDisposableStack();
  const at = opened.use(await openBridgedApp({ by: byHand(["modern", "lists=meta"]) }));
  await at.ready();
  const { door, permissions, store } = at.app;
  const ending = new AbortController();
  const pipes = { input: new PassThrough(), output: new PassThrough() };
  const rights = at.grantAll();
  const tools = rights.rights.tools.map((right) => ({ ...right, tainted: true }));
  const grant = { ...rights, rights: { ...rights.rights, tools } };
  const services = { door, permissions, store, grant, isExplicit: true, version: "0", log: () => {}, ...pipes };
  const serving = serveStdio({ ...services, signal: ending.signal });
  opened.defer(async () => {
    ending.abort();
    await serving;
  });
  const owned = opened.move();
  const call = async (name: string, more: object = {}): Promise<unknown> => {
    const params = { name, arguments: {}, _meta: { ...envelope(), ...more } };
    pipes.input.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params })}\n`);
    const [line] = await once(pipes.output, "data");
    return JSON.parse(String(line));
  };
  return {
    call,
    async metaOf(more: object): Promise<unknown> {
      return JSON.parse(Answer.parse(await call("by__meta", more)).result.content[0].text);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

test("the trace that a client names goes on in the span of its call and at the server behind, and the baggage stays here", async () => {
  await using observed = observe();
  await using at = await openServed();
  const meta = await at.metaOf({ traceparent: `00-${traceId}-b7ad6b7169203331-01`, baggage: "secret=2" });
  const [span] = observed.spans();
  expect(span?.name).toBe("execute_tool by__meta");
  expect(span?.parentSpanContext?.spanId).toBe("b7ad6b7169203331");
  expect(span?.attributes).toMatchObject({
    "gen_ai.operation.name": "execute_tool",
    "gen_ai.tool.name": "by__meta",
    "capstan.tool.outcome": "done",
  });
  expect(span?.events.map(({ name }) => name)).toEqual(["tool_execution"]);
  expect(meta).toMatchObject({ traceparent: `00-${traceId}-${span?.spanContext().spanId}-01` });
  expect(meta).not.toHaveProperty("baggage");
});

test("a call without a trace begins one, and a failed one says with which code", async () => {
  await using observed = observe();
  await using at = await openServed();
  const meta = await at.metaOf({});
  const { traceId: own, spanId } = observed.spans()[0]?.spanContext() ?? {};
  expect(meta).toMatchObject({ traceparent: `00-${own}-${spanId}-01` });
  observed.reset();
  await at.call("by__gone");
  const [failed] = observed.spans();
  expect([failed?.name, failed?.attributes["error.type"]]).toEqual(["execute_tool unknown", "tool.unknown"]);
});

test("a run that a client starts goes on with its trace, down to the server that a tool of the run is behind", async () => {
  await using observed = observe();
  await using behind = await openBridgedApp({ by: byHand(["modern", "lists=meta"]) });
  await behind.ready();
  const tools = behind.app.toolbox.tools.filter(({ name }) => name === "by__meta");
  const models = { first: [{ calls: [["by__meta", {}] as const] }, { text: "done" }] };
  await using at = await openAgentServer(tools, models);
  const rights = at.grant.rights.tools.map((right) => ({ ...right, tainted: true }));
  const client = at.connect({ ...at.grant, rights: { ...at.grant.rights, tools: rights } });
  const meta = { ...envelope(), traceparent: `00-${traceId}-b7ad6b7169203331-01` };
  const { result } = await client.call("run_agent", { task: "go" }, meta);
  const runId = z.object({ runId: z.string() }).parse(result?.structuredContent).runId;
  const spans = observed.spans().map((span) => toPlain(span, observed.spans()));
  expect(spans.map(({ name, parent }) => [name, parent])).toEqual([
    ["chat first", "invoke_agent"],
    ["execute_tool by__meta", "invoke_agent"],
    ["chat first", "invoke_agent"],
    ["invoke_agent", "execute_tool run_agent"],
    ["execute_tool run_agent", null],
  ]);
  expect(new Set(observed.spans().map((span) => span.spanContext().traceId))).toEqual(new Set([traceId]));
  const finished = (await at.events(runId)).find(({ type }) => type === "tool.finished");
  const inner = observed.spans().find(({ name }) => name === "execute_tool by__meta");
  expect(JSON.stringify(finished)).toContain(`00-${traceId}-${inner?.spanContext().spanId}-01`);
});

test("a resource is read and a prompt is got within the trace that the client names", async () => {
  await using _ = observe();
  const { logger, ...log } = await recording();
  await using server = await openTestServer({ logger });
  const client = server.connect();
  const meta = { ...envelope(), traceparent: `00-${traceId}-b7ad6b7169203331-01` };
  await client.request("resources/read", { uri: "test://notes/1", _meta: meta });
  await client.request("prompts/get", { name: "weather", _meta: meta });
  expect((await log.records()).slice(1)).toMatchObject([
    { name: "resource_read", trace_id: traceId },
    { name: "prompt_get", trace_id: traceId },
  ]);
});

test("nothing of a trace is passed on where nobody has registered an SDK", async () => {
  await using at = await openServed();
  expect(await at.metaOf({ traceparent: `00-${traceId}-b7ad6b7169203331-01` })).not.toHaveProperty("traceparent");
});

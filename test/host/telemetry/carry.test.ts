import { once } from "node:events";
import { PassThrough } from "node:stream";
import { CLIENT_CAPABILITIES_META_KEY, PROTOCOL_VERSION_META_KEY } from "@modelcontextprotocol/server";
import { expect, test } from "vitest";
import { z } from "zod";
import { serveStdio } from "../../../src/server/mcp/stdio.ts";
import { openBridgedApp } from "../mcp/bridged-app.ts";
import { byHand } from "../mcp/connect-support.ts";
import { observe } from "./recorded.ts";

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
  return {
    async metaOf(more: object): Promise<unknown> {
      const meta = { [PROTOCOL_VERSION_META_KEY]: "2026-07-28", [CLIENT_CAPABILITIES_META_KEY]: {}, ...more };
      const params = { name: "by__meta", arguments: {}, _meta: meta };
      pipes.input.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params })}\n`);
      const [line] = await once(pipes.output, "data");
      return JSON.parse(Answer.parse(JSON.parse(String(line))).result.content[0].text);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

test("the trace that a client names goes with its call to the server behind, and the baggage stays here", async () => {
  await using _ = observe();
  await using at = await openServed();
  const meta = await at.metaOf({ traceparent: `00-${traceId}-b7ad6b7169203331-01` });
  expect(meta).toMatchObject({ traceparent: `00-${traceId}-b7ad6b7169203331-01` });
  expect(meta).not.toHaveProperty("baggage");
  expect(await at.metaOf({})).not.toHaveProperty("traceparent");
});

test("nothing of a trace is passed on where nobody has registered an SDK", async () => {
  await using at = await openServed();
  expect(await at.metaOf({ traceparent: `00-${traceId}-b7ad6b7169203331-01` })).not.toHaveProperty("traceparent");
});

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { expect } from "vitest";
import { z } from "zod";
import { testWith } from "../../support/machine.ts";
import { tempFolder } from "../../support/temp.ts";
import { openHttpServer } from "./http-serve.ts";
import { envelope } from "./peer.ts";

/** Serves the same page at every address of an origin of its own, and hears what the page posts there. */
async function openPage() {
  let html = "";
  const heard = Promise.withResolvers<string>();
  const server = createServer((request, response) => {
    if (request.method === "POST") void text(request).then(heard.resolve, heard.reject);
    response.setHeader("content-type", "text/html").end(html);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  return {
    origin: `http://127.0.0.1:${port}`,
    heard: heard.promise,
    show: (script: string) => (html = `<!doctype html><body><script type="module">${script}</script></body>`),
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** What a page posts to where it comes from, once a real browser shows it. */
async function browse({ origin, heard }: Awaited<ReturnType<typeof openPage>>): Promise<string> {
  await using folder = await tempFolder();
  const quiet = ["--headless", "--no-sandbox", "--disable-gpu", `--user-data-dir=${folder.path}`];
  const browser = spawn("chromium", [...quiet, origin], { stdio: "ignore" });
  const ended = once(browser, "close");
  try {
    return await Promise.race([heard, ended.then(() => Promise.reject(new Error("The browser ended by itself.")))]);
  } finally {
    browser.kill();
    await ended;
  }
}

/** Calls as a client in a page does, in both eras and by HTTP+SSE, and writes down what it can see. */
function toScript(url: string, token: string): string {
  const start = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "page", version: "1" } };
  const call = { name: "echo", arguments: { text: "seen" }, _meta: envelope() };
  return `
    const url = ${JSON.stringify(url)};
    const own = { authorization: ${JSON.stringify(`Bearer ${token}`)}, accept: "application/json, text/event-stream" };
    const post = (method, params, more) => fetch(url + "/mcp", {
      method: "POST",
      headers: { ...own, "content-type": "application/json", ...more },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
    });
    const modern = { "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "echo" };
    const begin = () => post("initialize", ${JSON.stringify(start)});
    const see = {
      call: async () => (await (await post("tools/call", ${JSON.stringify(call)}, modern)).json()).result.structuredContent.text,
      session: async () => typeof (await begin()).headers.get("mcp-session-id"),
      end: async () => (await fetch(url + "/mcp", { method: "DELETE", headers: {
        ...own, "mcp-session-id": (await begin()).headers.get("mcp-session-id") } })).status,
      stream: async () => {
        const reader = (await fetch(url + "/sse", { headers: own })).body.getReader();
        const { value } = await reader.read();
        await reader.cancel();
        return new TextDecoder().decode(value).slice(0, 15);
      },
      refusal: async () => (await fetch(url + "/mcp", { method: "POST" })).headers.get("www-authenticate").slice(0, 6),
    };
    const seen = {};
    for (const [name, look] of Object.entries(see)) seen[name] = await look().catch((thrown) => thrown.name);
    await fetch("/", { method: "POST", body: JSON.stringify(seen) });
  `;
}

const Seen = z.record(z.string(), z.unknown());

testWith("chromium")(
  "a browser lets a page of a listed origin call and read, and no other one",
  async () => {
    await using listed = await openPage();
    await using other = await openPage();
    await using server = await openHttpServer({ origins: [listed.origin] });
    const script = toScript(server.url, server.tokenOf());
    for (const page of [listed, other]) page.show(script);
    const blocked = "TypeError";
    const none = { call: blocked, session: blocked, end: blocked, stream: blocked, refusal: blocked };
    expect(Seen.parse(JSON.parse(await browse(other)))).toEqual(none);
    expect(await server.audit()).toEqual([]);
    const all = { call: "seen", session: "string", end: 200, stream: "event: endpoint", refusal: "Bearer" };
    expect(Seen.parse(JSON.parse(await browse(listed)))).toEqual(all);
  },
  120_000,
);

import { describe, expect, test } from "vitest";
import { openHttpServer } from "./http-serve.ts";
import { envelope } from "./peer.ts";

const revision = "io.modelcontextprotocol/protocolVersion";
const capabilities = "io.modelcontextprotocol/clientCapabilities";

/** server/discover with this `_meta`, under a header that names the modern revision. */
async function discover(server: Awaited<ReturnType<typeof openHttpServer>>, meta: object | undefined) {
  const headers = {
    "content-type": "application/json",
    authorization: `Bearer ${server.tokenOf()}`,
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "server/discover",
  };
  const params = meta === undefined ? {} : { _meta: meta };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 7, method: "server/discover", params });
  const response = await fetch(`${server.url}/mcp`, { method: "POST", headers, body });
  return { status: response.status, answer: await response.json() };
}

describe("a request whose header names the modern revision", () => {
  test.each([
    ["nothing", undefined],
    ["no revision", { [capabilities]: {} }],
    ["no capabilities", { [revision]: "2026-07-28" }],
    ["a revision that is no text", { [revision]: 2026, [capabilities]: {} }],
  ])("and whose envelope holds %s is answered 400, -32602, under its id", async (_what, meta) => {
    await using server = await openHttpServer();
    expect(await discover(server, meta)).toMatchObject({ status: 400, answer: { id: 7, error: { code: -32_602 } } });
    expect(await discover(server, envelope())).toMatchObject({ status: 200, answer: { id: 7, result: {} } });
  });
});

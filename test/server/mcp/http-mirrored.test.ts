import { expect, test } from "vitest";
import { openFixture } from "../../conformance/fixture.ts";
import { envelope } from "./peer.ts";

const encoded = (text: string): string => `=?base64?${Buffer.from(text).toString("base64")}?=`;

/** Calls a tool that wants its argument `region` in a header too. */
async function call(server: Awaited<ReturnType<typeof openFixture>>, region: string, sent: string | undefined) {
  const name = "test_x_mcp_header";
  const headers = {
    "content-type": "application/json",
    authorization: `Bearer ${server.token}`,
    ...{ "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": name },
    ...(sent === undefined ? {} : { "mcp-param-region": sent }),
  };
  const params = { name, arguments: { region }, _meta: envelope() };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 7, method: "tools/call", params });
  const response = await fetch(`${server.url}/mcp`, { method: "POST", headers, body });
  return { status: response.status, answer: await response.json() };
}

test("an argument that a tool wants in a header must be there, and be the same", async () => {
  await using server = await openFixture({ hosts: [], origins: [] });
  const mismatch = { status: 400, answer: { id: 7, error: { code: -32_020 } } };
  for (const sent of [undefined, "us", encoded("us"), "=?base64?ZXU?=", "=?base64?Z!U=?="]) {
    expect(await call(server, "eu", sent)).toMatchObject(mismatch);
  }
  for (const [region, sent] of [
    ["eu", "eu"],
    ["eu", encoded("eu")],
    ["é", encoded("é")],
    ["=?base64?ZXU=", "=?base64?ZXU="],
  ] as const) {
    expect(await call(server, region, sent)).toMatchObject({ status: 200, answer: { id: 7, result: {} } });
  }
});

import { expect, test } from "vitest";
import { CapstanError } from "../../../src/core/error.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import type { Progress } from "../../../src/tools/tool.ts";
import { byHand, codeOf, openTestConnection, until } from "./connect-support.ts";

const eras = ["modern", "legacy"] as const;

test.each(eras)("progress keeps a call to a %s server alive, and the total time ends it all the same", async (era) => {
  await using connection = await openTestConnection(byHand([era]));
  const seen: Progress[] = [];
  const onProgress = (progress: Progress): void => void seen.push(progress);
  const steps = { steps: 6, everyMs: 400 };
  await connection.text("echo");
  expect(await connection.text("progress", steps, { onProgress, timeoutMs: 2_000 })).toBe("done");
  expect(seen).toHaveLength(6);
  expect(seen[2]).toEqual({ done: 3, total: 6, message: "step 3" });

  const start = Date.now();
  const endless = connection.text(
    "progress",
    { steps: 1_000, everyMs: 400 },
    { timeoutMs: 2_000, totalTimeoutMs: 2_600 },
  );
  expect(await codeOf(endless)).toBe("mcp.timeout");
  expect(Date.now() - start).toBeGreaterThan(2_550);
  expect(Date.now() - start).toBeLessThan(30_000);
  const silent = connection.text("progress", { steps: 2, everyMs: 150, ends: false }, { timeoutMs: 1_000 });
  expect(await codeOf(silent)).toBe("mcp.timeout");
});

test.each(eras)("a cancelled call to a %s server ends at once, and the server is told", async (era) => {
  await using connection = await openTestConnection(byHand([era]));
  await connection.text("echo");
  const ending = new AbortController();
  const reason = new Error("no longer needed");
  const call = connection.text("hang", {}, { signal: ending.signal });
  setTimeout(() => ending.abort(reason), 100);
  await expect(call).rejects.toBe(reason);
  const seen: unknown = JSON.parse(await connection.text("seen"));
  expect(seen).toMatchObject({ cancelled: [expect.any(Number)] });
  await expect(connection.text("echo", {}, { signal: ending.signal })).rejects.toBe(reason);
});

test("what is answered late, under a wrong id or as garbage is left out, and the next answers are the right ones", async () => {
  await using connection = await openTestConnection(byHand(["legacy"]));
  await connection.text("echo");
  expect(await codeOf(connection.text("late", { ms: 1_500 }, { timeoutMs: 500 }))).toBe("mcp.timeout");
  expect(await connection.text("wrong-id")).toBe("yours");
  expect(await codeOf(connection.text("wrong-id", { ends: false }, { timeoutMs: 300 }))).toBe("mcp.timeout");
  expect(await connection.text("garbage")).toBe("after garbage");
  await until(() => connection.lines.some((line) => line.includes("nobody waits for")));
  expect(connection.lines.some((line) => line.includes("Listening on port 3000"))).toBe(true);
  expect(connection.lines.join("\n")).not.toContain("\u001b");
  expect(await connection.text("echo", { text: "on" })).toBe("on");
  expect(connection.starts()).toBe(1);
});

test("what a server says in an error is cut and holds no control characters", async () => {
  await using connection = await openTestConnection(byHand(["legacy"]));
  const error = await connection.text("fail").catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: "mcp.server_error", details: { code: -32_602 } });
  const message = error instanceof CapstanError ? error.message : "";
  expect(message).toContain("bad [31mnews");
  expect(message.length).toBeLessThan(500);
  expect(message).toMatch(/^\P{C}*$/u);
});

test("an answer with neither result nor error, and one nested too deep, end their call typed", async () => {
  await using connection = await openTestConnection(byHand(["legacy"]));
  expect(await codeOf(connection.text("no-result"))).toBe("mcp.protocol");
  expect(await codeOf(connection.text("deep"))).toBe("mcp.protocol");
  expect(await connection.text("echo", { text: "on" })).toBe("on");
});

test.each([["loop"], ["endless"]])("a list that goes on for ever (%s) ends typed", async (kind) => {
  await using connection = await openTestConnection(byHand(["legacy", kind]));
  expect(await codeOf(connection.listTools(AbortSignal.timeout(110_000)))).toBe("mcp.protocol");
});

test("a question of a legacy server reaches whoever called, and its answer goes back", async () => {
  await using connection = await openTestConnection(byHand(["legacy"]));
  const asked: unknown[] = [];
  const ask: NonNullable<Parameters<typeof connection.text>[2]>["ask"] = async (requests) => {
    asked.push(...requests);
    // Longer than the time of silence: a person takes a while.
    await new Promise((resolve) => setTimeout(resolve, 500));
    return Object.fromEntries(requests.map(({ id }) => [id, { action: "accept", content: { a: 1 } }]));
  };
  // To start may take longer on a busy machine.
  await connection.text("echo");
  const answer: unknown = JSON.parse(await connection.text("ask", {}, { ask, timeoutMs: 300 }));
  expect(answer).toMatchObject({ result: { action: "accept", content: { a: 1 } } });
  expect(asked).toMatchObject([{ type: "form", message: "Which one?", schema: { type: "object" } }]);
});

test("an accepted form of a legacy server gets its defaults where nothing was filled in", async () => {
  await using connection = await openTestConnection(byHand(["legacy"]));
  const properties = { size: { type: "integer", default: 30 }, sure: { type: "boolean", default: true }, why: {} };
  const schema = { type: "object", properties };
  const answered = async (answer: JsonObject): Promise<unknown> => {
    const ask = async (requests: readonly { readonly id: string }[]): Promise<JsonObject> =>
      Object.fromEntries(requests.map(({ id }) => [id, answer]));
    return JSON.parse(await connection.text("ask", { schema }, { ask }));
  };
  expect(await answered({ action: "accept", content: { sure: false } })).toMatchObject({
    result: { action: "accept", content: { size: 30, sure: false } },
  });
  expect(await answered({ action: "accept" })).toMatchObject({ result: { content: { size: 30, sure: true } } });
  expect(await answered({ action: "decline" })).toMatchObject({ result: { action: "decline" } });
  expect(JSON.stringify(await answered({ action: "decline" }))).not.toContain("content");
});

test("a question is declined where nobody can answer, or where it may belong to somebody else's call", async () => {
  await using connection = await openTestConnection(byHand(["legacy"]));
  expect(JSON.parse(await connection.text("ask"))).toMatchObject({ result: { action: "decline" } });
  const [sampling, roots, ping, unknown]: unknown[] = JSON.parse(await connection.text("ask-all"));
  expect(sampling).toMatchObject({ error: { code: -1 } });
  expect(roots).toMatchObject({ result: { roots: [] } });
  expect(ping).toMatchObject({ result: {} });
  expect(unknown).toMatchObject({ error: { code: -32_601 } });

  const ask = async (): Promise<never> => await Promise.reject(new Error("asked the wrong one"));
  const ending = new AbortController();
  const other = connection.text("hang", {}, { ask, signal: ending.signal });
  expect(JSON.parse(await connection.text("ask", {}, { ask }))).toMatchObject({ result: { action: "decline" } });
  ending.abort();
  await expect(other).rejects.toThrow("aborted");
});

test("a modern server's questions are returned as they are, with what the caller can answer in the request", async () => {
  await using connection = await openTestConnection(byHand(["modern"]));
  const signal = AbortSignal.timeout(110_000);
  const params = { name: "input-required", arguments: {} };
  const first = await connection.request("tools/call", params, { signal });
  expect(first).toMatchObject({
    resultType: "input_required",
    requestState: "s1",
    inputRequests: { a: { method: "elicitation/create" } },
  });
  const again = { ...params, requestState: "s1", inputResponses: { a: { action: "accept" } } };
  const result = await connection.request("tools/call", again, { signal });
  expect(JSON.stringify(result)).toContain(
    '{\\"responses\\":{\\"a\\":{\\"action\\":\\"accept\\"}},\\"state\\":\\"s1\\"}',
  );
  const meta: unknown = JSON.parse(
    await connection.text("meta", {}, { clientCapabilities: { elicitation: { form: {} } } }),
  );
  expect(meta).toMatchObject({
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": { elicitation: { form: {} } },
  });
  expect(JSON.parse(await connection.text("meta"))).toMatchObject({ "io.modelcontextprotocol/clientCapabilities": {} });
});

test("a log line goes to the call that it belongs to, else to who listens", async () => {
  await using connection = await openTestConnection(byHand(["modern"]), { isHeard: true });
  const entries: unknown[] = [];
  await connection.text("log", {}, { onLog: (entry) => void entries.push(entry) });
  expect(entries).toEqual([{ level: "warning", data: { a: 1 }, logger: "by-hand" }]);
  await connection.text("log");
  expect(connection.changes).toContainEqual({ type: "log", level: "warning", data: { a: 1 }, logger: "by-hand" });
});

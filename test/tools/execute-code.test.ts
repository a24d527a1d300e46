import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import type { Engine } from "../../src/sandbox/engine.ts";
import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { executeCodeTool } from "../../src/tools/execute-code.ts";
import type { Tool } from "../../src/tools/tool.ts";
import { testLimits } from "../sandbox/hostile.ts";
import { openTestArtifacts } from "../support/artifacts.ts";
import { testTool, toGrant, valueOf } from "../support/door.ts";
import { openCodeDoor as openDoorOver } from "./code-door.ts";

const engine = openQuickjsEngine();
const opened = await openTestArtifacts();
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await opened[Symbol.asyncDispose]();
});

const refused = (code: string): object => expect.objectContaining({ name: "CapstanError", code });

const openCodeDoor = (others: readonly Tool[] = [], engines: readonly Engine[] = [engine]) =>
  openDoorOver(engines, { others });

describe("execute_code", () => {
  test("answers result, output, usage and isolation", async () => {
    await using capstan = await openCodeDoor();
    const { outcome } = await capstan.run('console.log("hello"); [1, "two"]');
    expect(outcome).toMatchObject({ type: "done", taint: [] });
    expect(outcome).not.toHaveProperty("isError");
    expect(valueOf(outcome)).toEqual({
      status: "ok",
      stdout: "hello\n",
      stderr: "",
      result: [1, "two"],
      artifacts: [],
      usage: { wallMs: expect.any(Number), cpuMs: expect.any(Number), memoryBytes: expect.any(Number) },
      isolation: { engine: "quickjs", level: "wasm-in-thread", network: expect.stringContaining("no function") },
    });
  });

  test("runs TypeScript by leaving its types out", async () => {
    await using capstan = await openCodeDoor();
    const typed = "interface Point { x: number } const point: Point = { x: 7 }; point.x satisfies number";
    const ran = await capstan.call("execute_code", { language: "typescript", code: typed });
    expect(valueOf(ran.outcome)).toMatchObject({ status: "ok", result: 7 });
    const unknown = await capstan.call("execute_code", { language: "typescript", code: "enum A { B }" });
    expect(unknown.outcome).toMatchObject({ isError: true, value: { status: "error" } });
    expect(valueOf(unknown.outcome)).toHaveProperty("error", expect.stringContaining("enum"));
  });

  test("runs within a grant that names its arguments, and is not tripped by one that nobody passed", async () => {
    await using capstan = await openCodeDoor();
    const args = [
      { name: "language", rule: { type: "exact" as const, value: "javascript" }, optional: false },
      { name: "code", rule: { type: "string" as const, maxLength: 20 }, optional: false },
    ];
    const tools = capstan.grant.rights.tools.map((right) => ({ ...right, args }));
    const by = { grant: { ...capstan.grant, rights: { ...capstan.grant.rights, tools } } };
    expect(valueOf((await capstan.run("6 * 7", {}, { by })).outcome)).toMatchObject({ result: 42 });
    await expect(capstan.run("6 * 7", { files: [] }, { by })).rejects.toEqual(
      refused("permission.argument_not_granted"),
    );
    await expect(capstan.run("6 * 7", { language: "typescript" }, { by })).rejects.toEqual(
      refused("permission.argument_refused"),
    );
    await expect(capstan.run("6 * 7 + 1 + 1 + 1 + 1", {}, { by })).rejects.toEqual(
      refused("permission.argument_refused"),
    );
  });

  test("gives an end that is not well as a value that is an error", async () => {
    await using capstan = await openCodeDoor();
    const { outcome } = await capstan.run('throw new Error("boom")');
    expect(outcome).toMatchObject({ isError: true, value: { status: "error", result: null } });
    expect(valueOf(outcome)).toHaveProperty("error", expect.stringContaining("boom"));
  });

  test("takes files as text or base64 and gives artifacts back with their type", async () => {
    await using capstan = await openCodeDoor();
    const files = [
      { path: "a/text.txt", text: "é" },
      { path: "bytes.bin", base64: Buffer.from([0, 255, 1]).toString("base64") },
    ];
    const code = `files.write("out/text.txt", files.read("a/text.txt"));
      files.write("out.bin", files.readBytes("bytes.bin"));
      files.write("out.png", new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]));
      files.list()`;
    const { outcome } = await capstan.run(code, { files });
    expect(valueOf(outcome)).toMatchObject({
      result: ["a/text.txt", "bytes.bin", "out.bin", "out.png", "out/text.txt"],
      artifacts: [
        { path: "out/text.txt", bytes: 2, mimeType: "text/plain", text: "é" },
        { path: "out.bin", bytes: 3, mimeType: "application/octet-stream", base64: "AP8B" },
        { path: "out.png", bytes: 8, mimeType: "image/png", base64: "iVBORw0KGgo=" },
      ],
    });
  });

  test("shows a picture beside, once, and leaves the room in the answer to other files", async () => {
    await using capstan = await openCodeDoor();
    const resources = [{ type: "uri" as const, under: "capstan://artifacts/" }];
    const by = { grant: { ...capstan.grant, rights: { ...capstan.grant.rights, resources } } };
    const code = `const png = new Uint8Array(12000); png.set([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
      files.write("a.png", png); files.write("b.txt", "b".repeat(12000))`;
    const { outcome } = await capstan.run(code, {}, { by });
    expect(outcome).toMatchObject({ content: [{ type: "image" }, { name: "a.png" }, { name: "b.txt" }] });
    const [picture, text] = Object(valueOf(outcome)).artifacts;
    expect(picture).toEqual({ path: "a.png", bytes: 12_000, mimeType: "image/png", uri: expect.any(String) });
    expect(text).toHaveProperty("text", "b".repeat(12_000));
  });

  test.for([
    ["a name that leads out", { files: [{ path: "../x", text: "" }] }, "tool.bad_arguments"],
    ["no base64", { files: [{ path: "x", base64: "?" }] }, "tool.bad_arguments"],
    ["text and base64", { files: [{ path: "x", text: "", base64: "" }] }, "tool.bad_arguments"],
    ["an argument that does not exist", { network: true }, "tool.bad_arguments"],
    ["a session whose name is none", { session: "a/b" }, "tool.bad_arguments"],
    ["a language that nothing runs", { language: "ruby" }, "tool.bad_arguments"],
    ["no time", { timeoutMs: 0 }, "tool.bad_arguments"],
  ] as const)("refuses %s", async ([, over, code]) => {
    await using capstan = await openCodeDoor();
    await expect(capstan.run("1", over)).rejects.toThrow(refused(code));
  });

  test.for([
    [
      "two files of one name",
      [
        { path: "x", text: "1" },
        { path: "x", text: "2" },
      ],
    ],
    [
      "a file in a file",
      [
        { path: "a/b/c", text: "1" },
        { path: "a/b", text: "2" },
      ],
    ],
    ["more bytes than a run takes", [{ path: "x", text: "x".repeat(9 * 1024 * 1024) }]],
  ] as const)("answers an error to %s", async ([, files]) => {
    await using capstan = await openCodeDoor();
    expect((await capstan.run("1", { files })).outcome).toMatchObject({ isError: true, code: "sandbox.bad_request" });
  });

  test("allows the least of what is configured, asked for and granted", async () => {
    await using capstan = await openCodeDoor();
    const spin = "for (;;);";
    const asked = await capstan.run(spin, { timeoutMs: 200 });
    expect(valueOf(asked.outcome)).toMatchObject({ status: "timeout", error: expect.stringContaining("200 ms") });
    const { grant } = capstan;
    const parent = { id: "parent", limits: { cpuMs: 150, memoryBytes: 20 * 1024 * 1024 } };
    const child = { ...grant, ancestors: [parent], limits: { wallMs: 5_000 } };
    const granted = await capstan.run(spin, { timeoutMs: 4_000 }, { by: { grant: child } });
    expect(valueOf(granted.outcome)).toMatchObject({ status: "timeout", error: expect.stringContaining("150 ms") });
    const hog = "const a = []; for (;;) a.push(new Array(1000).fill(7))";
    const limits = { memoryBytes: 20 * 1024 * 1024 };
    const filled = await capstan.run(hog, { memoryMb: 48 }, { by: { grant: { ...grant, limits } } });
    expect(valueOf(filled.outcome)).toMatchObject({ status: "memory" });
    // The interpreter's memory is bounded by a power of two, so 32 MiB for a limit of 20.
    expect(JSON.stringify(valueOf(filled.outcome))).toMatch(/"memoryBytes":(?:[12]\d|3[0-3])\d{6}\b/);
  });

  test("reserves the time it may take and settles what it took", async () => {
    await using capstan = await openCodeDoor();
    const by = { grant: { ...capstan.grant, limits: { wallMs: 30_000, cpuMs: 100_000 } } };
    for (let run = 0; run < 3; run += 1) {
      const { outcome } = await capstan.run("1+1", { timeoutMs: 20_000 }, { by });
      expect(valueOf(outcome)).toMatchObject({ result: 2 });
    }
    const used = (await capstan.store.used([capstan.grant.id])).get(capstan.grant.id);
    expect(used).toMatchObject({ calls: 3 });
    expect(used?.wallMs).toBeGreaterThan(0);
    expect(used?.wallMs).toBeLessThan(20_000);
    expect(used?.cpuMs).toBeLessThan(20_000);
  });

  test("needs a sandbox as strong as the grant says", async () => {
    await using capstan = await openCodeDoor();
    const rights = { ...capstan.grant.rights, isolation: "container" as const };
    const by = { grant: { ...capstan.grant, rights } };
    await expect(capstan.run("1", {}, { by })).rejects.toThrow(refused("permission.no_right"));
    expect(valueOf((await capstan.run("1+1")).outcome)).toMatchObject({ result: 2 });
  });

  const strong = { ...engine, name: "strong", level: "os-sandbox" as const };
  const broken: Engine = {
    ...strong,
    languages: ["javascript", "bash"],
    open: () => Promise.reject(new CapstanError("sandbox.unavailable", "It did not start.")),
    probe: async () => ({ reason: "It is not there.", remedy: "Install it." }),
  };

  test("never runs in a weaker engine than the grant asks for, also where the strong one does not work", async () => {
    await using capstan = await openCodeDoor([], [engine, broken]);
    const rights = { ...capstan.grant.rights, isolation: "os-sandbox" as const };
    const { outcome } = await capstan.run("1+1", {}, { by: { grant: { ...capstan.grant, rights } } });
    expect(outcome).toMatchObject({ isError: true, code: "sandbox.unavailable" });
    expect(JSON.stringify(outcome)).toContain("Nothing here runs javascript now. strong: It is not there. Install it.");
    const halfway: Engine = { ...broken, probe: async () => null };
    await using half = await openCodeDoor([], [engine, halfway]);
    const refusal = await half.run("1+1", {}, { by: { grant: { ...half.grant, rights } } });
    expect(JSON.stringify(refusal.outcome)).toContain("strong: It did not start.");
    await using working = await openCodeDoor([], [engine, halfway, strong]);
    const by = { grant: { ...working.grant, rights: { ...working.grant.rights, isolation: "os-sandbox" as const } } };
    expect(valueOf((await working.run("1+1", {}, { by })).outcome)).toMatchObject({ result: 2 });
  });

  test("offers the languages of its engines, in the first of them that works", async () => {
    await using capstan = await openCodeDoor();
    const python = { language: "python", code: "1" };
    await expect(capstan.call("execute_code", python)).rejects.toThrow(refused("tool.bad_arguments"));
    await using second = await openCodeDoor([], [broken, engine]);
    expect(valueOf((await second.run("1+1")).outcome)).toMatchObject({ result: 2 });
    const bash = await second.call("execute_code", { language: "bash", code: "true" });
    expect(bash.outcome).toMatchObject({ isError: true, code: "sandbox.unavailable" });
    expect(JSON.stringify(bash.outcome)).toContain("strong: It is not there. Install it.");
    const described = (engines: readonly Engine[]) => JSON.stringify(toTool(engines).inputSchema);
    expect(described([engine])).toContain('"enum":["javascript","typescript"]');
    expect(described([broken, engine])).toContain('"enum":["javascript","bash","typescript"]');
    expect(toTool([engine]).description).not.toMatch(/Python|Bash/);
    expect(toTool([broken, engine]).description).toContain("Bash: /in and /out too, tools NAME");
    const snake: Engine = { ...engine, name: "snake", languages: ["python"], packages: ["six 1.17.0", "toml 1.0"] };
    expect(toTool([snake]).description).toContain("Python (standard library; in snake also six 1.17.0, toml 1.0)");
    await using walled = openBubblewrapEngine();
    expect(toTool([snake, walled]).description).toContain("toml 1.0; in bubblewrap also this machine's packages)");
  });

  test("says in one sentence what a file lacks or has too much of", async () => {
    await using capstan = await openCodeDoor();
    const told = (file: object) => capstan.run("1", { files: [file] }).catch(String);
    const forms = 'files.0: expected "path" and one of text, base64, artifact, from';
    expect(await told({ path: "a", text: "x", base64: "" })).toContain(forms);
    expect(await told({ path: "a" })).toContain(forms);
    expect(await told({ path: "a", content: "x" })).toMatch(/files\.0.*content/);
    expect(await told({ text: "x" })).toMatch(/files\.0\.path/);
    expect(await told({ path: "a", text: 5 })).toMatch(/files\.0\.?:? ?text: expected a string, got 5/);
    expect(await told({ path: "../a", base64: "?" })).toMatch(/path.*base64/s);
    expect(await told({ path: "a", text: "x" })).toMatchObject({ outcome: { type: "done" } });
  });

  test("tells of a start that takes long, and of no other", async () => {
    const told: unknown[] = [];
    const progress = ({ message }: { message?: string }): void => void told.push(message);
    await using fast = await openCodeDoor();
    await fast.run("1", {}, { progress });
    expect(told).toEqual([]);
    const late: Engine = { ...engine, open: (...given) => sleep(1_200).then(() => engine.open(...given)) };
    await using slow = await openCodeDoor([], [late]);
    expect(valueOf((await slow.run("1+1", {}, { progress })).outcome)).toMatchObject({ result: 2 });
    expect(told).toEqual([expect.stringContaining("Starting javascript.")]);
  });

  test("a cancelled call ends a loop, and the next call runs", async () => {
    await using capstan = await openCodeDoor();
    const startedAt = performance.now();
    await expect(capstan.run("for (;;);", {}, { signal: AbortSignal.timeout(300) })).rejects.toThrow(
      refused("tool.cancelled"),
    );
    expect(performance.now() - startedAt).toBeLessThan(20_000);
    expect(valueOf((await capstan.run("1+1")).outcome)).toMatchObject({ result: 2 });
  });

  test("has effect once where a once tool is within reach of the code", async () => {
    const once = testTool("send", { effect: "once" });
    const all = [testTool("look"), once];
    const effectWith = (listed: readonly Tool[]) =>
      toTool([engine], listed)
        .bind({ language: "javascript", code: "1" })
        .effect(toGrant(listed, 0, 0));
    expect(effectWith(all)).toBe("once");
    expect(effectWith([testTool("look")])).toBe("idempotent");
  });
});

/** The tool by itself, beside others. */
function toTool(engines: readonly Engine[], others: readonly Tool[] = []): Tool {
  const { artifacts, sessions } = opened;
  const tool: Tool = executeCodeTool({
    engines,
    limits: testLimits,
    listed: () => [...others, tool],
    artifacts,
    sessions,
  });
  return tool;
}

describe("code that calls tools", () => {
  test("goes through the door: charged, audited with its parent, and no further than the grant", async () => {
    await using capstan = await openCodeDoor([testTool("look"), testTool("hidden")]);
    const tools = capstan.grant.rights.tools.filter(({ name }) => name !== "hidden");
    const grant = { ...capstan.grant, rights: { ...capstan.grant.rights, tools } };
    const code = `const seen = await tools.look({ text: "é" });
      let told; try { await tools.hidden({}) } catch (error) { told = [error.name, error.message] }
      ({ seen, told })`;
    const { outcome } = await capstan.run(code, {}, { by: { grant }, callId: "call_code" });
    const told = 'tool.unknown: No tool is called "hidden" here. List the tools to see which are.';
    expect(valueOf(outcome)).toMatchObject({ result: { seen: { text: "é" }, told: ["ToolError", told] } });
    const rows = (await capstan.audit()).map(({ entry }) => [entry.name, entry.parentId, entry.decision]);
    expect(rows).toEqual([
      ["execute_code", undefined, "allow"],
      ["look", "call_code", "allow"],
      ["hidden", "call_code", "deny"],
    ]);
  });

  test("reads text where a tool gives no value", async () => {
    const content = [
      { type: "text" as const, text: "one" },
      { type: "text" as const, text: "two" },
    ];
    await using capstan = await openCodeDoor([testTool("talk", { run: async () => ({ type: "done", content }) })]);
    expect(valueOf((await capstan.run("await tools.talk()")).outcome)).toMatchObject({ result: "one\ntwo" });
  });

  test("can't wait for a person, and what it would be asked counts as read", async () => {
    const asking = testTool("asking", {
      run: async () => ({
        type: "waiting",
        requests: [{ id: "1", type: "form", message: "Really?", schema: {} }],
        state: null,
        taint: ["mcp:x"],
      }),
    });
    await using capstan = await openCodeDoor([asking, testTool("marked")]);
    const tools = capstan.grant.rights.tools.map((right) => ({ ...right, ask: right.name === "marked" }));
    const by = { grant: { ...capstan.grant, rights: { ...capstan.grant.rights, tools } } };
    const code = `const told = [];
      for (const name of ["asking", "marked"]) try { await tools[name]({}) } catch (error) { told.push(error.message.split(":")[0]) }
      told`;
    const { outcome, taint } = await capstan.run(code, {}, { by });
    expect(valueOf(outcome)).toMatchObject({ result: ["tool.input_needed", "permission.approval_needed"] });
    expect(taint).toContain("mcp:x");
  });

  test("takes arguments by name only", async () => {
    await using capstan = await openCodeDoor([testTool("look")]);
    const { outcome } = await capstan.run(
      'let text; try { await tools.look("x") } catch (error) { text = error.message } text',
    );
    expect(valueOf(outcome)).toMatchObject({
      result: "tool.bad_arguments: look takes its arguments by name: tools.look({argument: value}).",
    });
  });

  test("passes on what it was made of and what its calls brought in", async () => {
    const reader = testTool("reader", { run: async () => ({ type: "done", value: "x", taint: ["files"] }) });
    await using capstan = await openCodeDoor([reader]);
    expect((await capstan.run("1", {}, { by: { taint: ["knowledge"] } })).taint).toEqual(["knowledge"]);
    expect((await capstan.run("await tools.reader()", {}, { by: { taint: ["knowledge"] } })).taint).toEqual([
      "files",
      "knowledge",
    ]);
    expect((await capstan.run("1")).taint).toEqual([]);
  });

  test("may run code in turn, to the depth of calls and no deeper", async () => {
    await using capstan = await openCodeDoor();
    const code = `const again = async (code) => (await tools.execute_code({ language: "javascript", code })).result;
      const nest = (depth) => \`try { (await tools.execute_code({ language: "javascript", code: \${JSON.stringify(depth === 0 ? "7" : nest(depth - 1))} })).result } catch (error) { error.message }\`;
      [await again(nest(1)), await again(nest(6))]`;
    expect(valueOf((await capstan.run(code)).outcome)).toMatchObject({
      result: [7, expect.stringContaining("budget.depth")],
    });
  });

  test("spends the calls of its grant", async () => {
    await using capstan = await openCodeDoor([testTool("look")]);
    const by = { grant: { ...capstan.grant, limits: { calls: 4 } } };
    const code = `let calls = 0, told; try { for (;;) { await tools.look({}); calls++ } } catch (error) { told = error.message.split(":")[0] } [calls, told]`;
    expect(valueOf((await capstan.run(code, {}, { by })).outcome)).toMatchObject({ result: [3, "budget.calls"] });
  });
});

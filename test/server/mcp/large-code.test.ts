import { afterAll, describe, expect, test } from "vitest";
import { openQuickjsEngine } from "../../../src/sandbox/quickjs.ts";
import { executeCodeTool } from "../../../src/tools/execute-code.ts";
import { Output } from "../../../src/tools/execute-code/schema.ts";
import { testLimits } from "../../sandbox/hostile.ts";
import { openTestArtifacts } from "../../support/artifacts.ts";
import { openOfferingServer } from "./offering-serve.ts";
import { envelope, textOf } from "./peer.ts";

const engine = openQuickjsEngine();
const opened = await openTestArtifacts();
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await opened[Symbol.asyncDispose]();
});
const { artifacts, sessions } = opened;
const limits = { ...testLimits, artifacts: 100 };
const codeTool = executeCodeTool({ engines: [engine], limits, listed: () => [], artifacts, sessions });

/** A server with `execute_code`, and what comes of code there. */
async function openCodeServer(settings: { resultBytes?: number } = {}) {
  const server = await openOfferingServer({ more: [codeTool], ...settings });
  return {
    server,
    async run(code: string, grant = server.reader) {
      const peer = server.connect(grant);
      const { result } = await peer.call("execute_code", { language: "javascript", code }, envelope());
      const links = (result?.content ?? []).filter(({ type }) => type === "resource_link");
      return { result, links, value: Output.parse(result?.structuredContent) };
    },
    async read(uri: string) {
      const { result } = await server.connect(server.reader).request("resources/read", { uri, _meta: envelope() });
      return Object(result).contents[0].text;
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

const lines = "Array.from({ length: 6000 }, (_, n) => `line ${n}`).join('\\n')";
const printed = `${Array.from({ length: 6000 }, (_, n) => `line ${n}`).join("\n")}\n`;

describe("what code prints and answers, where it has no room in an answer", () => {
  test("is an artifact each, largest first, and the rest of the answer stands", async () => {
    await using code = await openCodeServer();
    const { result, value, links } = await code.run(
      `console.log(${lines}); console.error("a warning"); Array.from({ length: 8000 }, (_, n) => n)`,
    );
    expect(result).not.toHaveProperty("isError");
    expect(value).toMatchObject({ status: "ok", result: null, stderr: "a warning\n" });
    expect(value.usage.memoryBytes).toBeGreaterThan(0);
    expect(value.stdout).toMatch(
      /^line 0\nline 1\n[^]*\n\[\d+ characters are left out here; the artifact stdout\.txt has them\]\n[^]*line 5999\n$/,
    );
    expect(value).not.toHaveProperty("outputCut");
    expect(value.resultNote).toBe("the result has no room here: the artifact result.json has it, 38891 bytes of JSON");
    expect(value.artifacts).toMatchObject([{ path: "stdout.txt" }, { path: "result.json", bytes: 38_891 }]);
    expect(links.map(({ name }) => name)).toEqual(["stdout.txt", "result.json"]);
    const [stdout = "", json = ""] = await Promise.all(value.artifacts.map(({ uri }) => code.read(uri)));
    expect(stdout === printed).toBe(true);
    expect(JSON.parse(json)).toHaveLength(8_000);
  });

  test("stays where something larger makes the room, the texts of files too", async () => {
    await using code = await openCodeServer();
    const { value } = await code.run(
      `console.log(${lines}); files.write("stdout.txt", "the code's own"); files.write("a.txt", "x".repeat(9000)); [1, 2]`,
    );
    expect(value).toMatchObject({ status: "ok", result: [1, 2] });
    expect(value.stdout).toContain("the artifact capstan-stdout.txt has them");
    const own = value.artifacts.map(({ path, text }) => [path, text?.length]);
    expect(own).toEqual([
      ["stdout.txt", 14],
      ["a.txt", 9_000],
      ["capstan-stdout.txt", undefined],
    ]);
    const [fits] = (await code.run(`files.write("a.txt", "x".repeat(9000)); "y".repeat(15000)`)).value.artifacts;
    expect(fits).toMatchObject({ path: "a.txt", text: "x".repeat(9_000) });
  });

  test("keeps its shape whatever it is made of, in the smallest answer that can be configured", async () => {
    await using code = await openCodeServer({ resultBytes: 32 * 1024 });
    const dense = String.raw`"\u0001\"\\".repeat(10000)`;
    const { result, value } = await code.run(
      `console.log(${dense}); console.error(${dense}); for (const n of [1, 2, 3, 4]) files.write("f" + n, ${dense}.slice(0, 4000)); throw new Error(${dense})`,
    );
    expect(result).toMatchObject({ isError: true });
    expect(value).toMatchObject({ status: "error", error: expect.stringContaining("the artifact error.txt has them") });
    expect(value.artifacts.map(({ path }) => path)).toEqual(expect.arrayContaining(["f1", "stdout.txt", "stderr.txt"]));
    expect(JSON.stringify(result).length).toBeLessThan(32 * 1024);
  });

  test.for([20, 100])("names and links as many files as have room, of %s with long paths", async (count) => {
    await using code = await openCodeServer();
    const { result, value, links } = await code.run(
      `for (let n = 0; n < ${count}; n++) files.write(Array(5).fill("x".repeat(190) + n).join("/"), "x"); console.log("done"); 7`,
    );
    expect(result).not.toHaveProperty("isError");
    expect(value).toMatchObject({ status: "ok", stdout: "done\n", result: 7 });
    const left = count - value.artifacts.length;
    expect(left).toBeGreaterThan(0);
    expect(value.resultNote).toContain(`there is no room here for ${left} of the files`);
    const own = links.filter(({ name }) => String(name).startsWith("x"));
    expect(own.length).toBeGreaterThanOrEqual(20);
    expect(own.length === count).toBe(count === 20);
    expect(JSON.stringify(result).length).toBeLessThan(64 * 1024);
  });

  test("comes as far as an answer reaches to whoever may not read what is kept", async () => {
    await using code = await openCodeServer();
    const { server } = code;
    const grant = server.withRights("unread", { resources: [] });
    const { value, result } = await code.run(`console.log(${lines}); "z".repeat(50000)`, grant);
    expect(value).toMatchObject({ stdout: printed, result: "z".repeat(50_000), artifacts: [] });
    expect(textOf({ result })).not.toContain("left out here");
  });
});

test("8 MiB of files have room in the arguments, as base64 and as text with escapes", async () => {
  await using code = await openCodeServer();
  const peer = code.server.connect();
  const bytes = Buffer.alloc(8 * 1024 * 1024, "a line\n\t");
  for (const file of [{ base64: bytes.toString("base64") }, { text: bytes.toString() }]) {
    const files = [{ path: "a", ...file }];
    const args = { language: "javascript", code: `files.readBytes("a").length`, files };
    const { result } = await peer.call("execute_code", args, envelope());
    expect(result?.structuredContent).toMatchObject({ status: "ok", result: bytes.length });
  }
});

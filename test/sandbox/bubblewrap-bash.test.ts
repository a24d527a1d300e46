import { afterAll, expect, test } from "vitest";
import type { Json } from "../../src/core/json.ts";
import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import type { ExecResult } from "../../src/sandbox/engine.ts";
import { describeWith } from "../support/machine.ts";
import { runIn } from "./hostile.ts";

const engine = openBubblewrapEngine();
afterAll(() => engine[Symbol.asyncDispose]());
const run = (code: string, over?: Parameters<typeof runIn>[3]) => runIn(engine, "bash", code, over);

describeWith("bubblewrap")("bash in bubblewrap", () => {
  test.for<readonly [what: string, code: string, expected: Partial<ExecResult>]>([
    ["prints", "echo out; echo err >&2", { status: "ok", stdout: "out\n", stderr: "err\n", result: null }],
    ["prints by programs that it starts, to the last byte", "seq 1 9999 | tail -1", { status: "ok", stdout: "9999\n" }],
    ["gives JSON", `result='{"a": [1, null]}'`, { status: "ok", result: { a: [1, null] } }],
    ["gives text", "result=$(echo two words)", { status: "ok", result: "two words" }],
    ["gives what JSON can't hold", "result=NaN", { status: "ok", resultNote: "NaN and infinite numbers became text" }],
    [
      "gives bytes that are no text",
      String.raw`result=$(printf 'a\xff')`,
      { status: "ok", result: "a\ufffd", resultNote: "bytes that are no UTF-8 were replaced" },
    ],
    ["gives too much", "result=$(printf '%070000d' 0)", { status: "output", result: null }],
    ["leaves early, and well", "result=1; exit 0; echo never", { status: "ok", result: 1, stdout: "" }],
    ["ends with a status", "exit 3", { status: "error", error: "The script ended with exit status 3." }],
    ["stops at the first failure", "set -e; false; echo never", { status: "error", stdout: "" }],
    [
      "uses what is not set",
      "set -u; echo $missing",
      { status: "error", error: "The script ended with exit status 1." },
    ],
    ["can't be parsed", "if then", { status: "error", error: "The script ended with exit status 2." }],
    ["is killed", "kill -9 $$", { status: "error", error: "The script was ended by signal 9." }],
    ["calls no tool that it may not", "tools echo; result=$?", { status: "ok", result: 1 }],
  ])("a script that %s", async ([, code, expected]) => {
    expect(await run(code)).toMatchObject(expected);
  });

  test("a script calls tools by a command, from every shell that it starts", async () => {
    const onCall = (name: string, args: Json): Promise<Json> =>
      name === "greet" ? Promise.resolve("hello") : Promise.resolve({ name, args });
    const code = `
result=$(tools echo '{"x": 1, "é": "\\u2028"}')
tools greet
echo '{"n": 1} {"n": 2}' | xargs -n 2 echo >/dev/null
bash -c 'tools inner' | grep -c inner
for n in 1 2 3; do tools side "{\\"n\\": $n}" >"$n.json" & done
wait
cat 1.json 2.json 3.json`;
    const { status, stdout, result, artifacts } = await run(code, { onCall });
    expect({ status, result }).toEqual({ status: "ok", result: { name: "echo", args: { x: 1, é: "\u2028" } } });
    const side = [1, 2, 3].map((n) => `{"name": "side", "args": {"n": ${n}}}\n`).join("");
    expect(stdout).toBe(`hello\n1\n${side}`);
    expect(artifacts.map(({ path }) => path)).toEqual(["1.json", "2.json", "3.json"]);
  });

  test("arguments that are no JSON are refused with a text on stderr", async () => {
    const { stderr, result } = await run("tools echo '{'; result=$?", { onCall: () => Promise.resolve("never") });
    expect(result).toBe(1);
    expect(stderr).toBe("tool.bad_arguments: The arguments of a call must be JSON.\n");
  });

  test("a script reads its files and can't write over them", async () => {
    const files = [{ path: "data/in.txt", bytes: Buffer.from("given") }];
    const { stdout } = await run("cat /in/data/in.txt; (echo changed >/in/data/in.txt) 2>/dev/null || echo ' only'", {
      files,
    });
    expect(stdout).toBe("given only\n");
  });

  test("a script that waits for ever, and what it left behind, are ended", async () => {
    expect(await run("sleep 100", { limits: { wallMs: 300 } })).toMatchObject({ status: "timeout" });
    expect(await run("sleep 100 & disown; echo left")).toMatchObject({ status: "ok", stdout: "left\n" });
  });
});

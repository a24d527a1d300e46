import { expect, test } from "vitest";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { testLimits } from "./hostile.ts";
import { scriptSession } from "./session-snippets.ts";
import { describeSessions } from "./session.ts";

describeSessions("JavaScript", openQuickjsEngine, scriptSession);

test("a name that is declared twice is refused with a word about sessions", async () => {
  await using engine = openQuickjsEngine();
  const never = new AbortController().signal;
  await using session = await engine.open({ language: "javascript", isSession: true }, never);
  const request = { language: "javascript", code: "const x = 1; x", files: [], limits: testLimits } as const;
  expect(await session.run(request, never)).toMatchObject({ status: "ok", result: 1 });
  const again = await session.run(request, never);
  expect(again).toMatchObject({ status: "error", error: expect.stringMatching(/redeclaration of 'x'[^]*with var\.$/) });
  expect(await session.run({ ...request, code: "let z = missing" }, never)).toMatchObject({ status: "error" });
  const after = await session.run({ ...request, code: "z = 1" }, never);
  expect(after.error).toMatch(/^ReferenceError: z is not initialized[^]*use another name/);
  expect(await session.run({ ...request, code: "var y = x + 1; y" }, never)).toMatchObject({ result: 2 });
});

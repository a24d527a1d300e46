import assert from "node:assert/strict";
import { temporaryHome } from "../temporary-home.ts";
// README: begin
import { z } from "zod";
import { defineTool, fromZod, openApp, run } from "../../src/index.ts";

const reverse = defineTool({
  name: "reverse",
  title: "Reverse text",
  description: "Returns the text backwards.",
  input: fromZod(z.strictObject({ text: z.string().max(1000) })),
  hints: { readOnly: true, destructive: false, idempotent: true, openWorld: false },
  effect: "read",
  needs: () => [],
  run: async ({ text }) => ({ type: "done", value: Array.from(text).reverse().join("") }),
});
// README: end

await using temporary = await temporaryHome();
const home = temporary.path;
// README: begin

await using app = await openApp({ home, tools: [reverse] });
const outcome = await run(app, 'reverse {"text":"capstan"}', { allow: ["reverse"] });
// README: end
assert.equal(outcome.status, "done");
assert.match(outcome.answer, /natspac/);

// Without `--allow` the same tool does not exist for the run.
const refused = await run(app, 'reverse {"text":"capstan"}');
assert.notEqual(refused.status, "done");
console.log("own-tool: called with the right, unknown without it");

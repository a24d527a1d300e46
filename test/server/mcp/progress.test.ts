import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { openProgress } from "../../../src/server/mcp/progress.ts";
import type { Progress } from "../../../src/tools/tool.ts";

test("openProgress() passes on only what moves forward, at most ten a second, and nothing after the end", async () => {
  const sent: Progress[] = [];
  const progress = openProgress((reached) => sent.push(reached));
  for (let done = 0; done < 1_000; done += 1) progress.report({ done, total: 1_000 });
  expect(sent).toEqual([{ done: 0, total: 1_000 }]);

  await sleep(120);
  progress.report({ done: 0 });
  progress.report({ done: Number.NaN });
  expect(sent).toHaveLength(1);
  progress.report({ done: 500, message: "half" });
  expect(sent.at(-1)).toEqual({ done: 500, message: "half" });

  await sleep(120);
  progress.end();
  progress.report({ done: 1_000 });
  expect(sent).toHaveLength(2);
});

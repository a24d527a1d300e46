import { stat } from "node:fs/promises";
import type { Engine } from "../../src/sandbox/engine.ts";
import type { Resolve } from "../../src/tools/egress.ts";
import { executeCodeTool } from "../../src/tools/execute-code.ts";
import type { Tool } from "../../src/tools/tool.ts";
import { testLimits } from "../sandbox/hostile.ts";
import { openTestArtifacts } from "../support/artifacts.ts";
import { openTestDoor } from "../support/door.ts";

/** A door over `execute_code` with real engines, and the other tools that its code may reach. `hidden` is a folder that nobody may see. */
export async function openCodeDoor(
  engines: readonly Engine[],
  options: {
    readonly others?: readonly Tool[];
    readonly limits?: Partial<typeof testLimits>;
    readonly hidden?: string;
    readonly inputBytes?: number;
    readonly resolve?: Resolve;
  } = {},
) {
  const { others = [], limits, hidden, inputBytes, resolve } = options;
  await using opened = new AsyncDisposableStack();
  const { artifacts, sessions } = opened.use(await openTestArtifacts());
  const tools: Tool[] = [...others];
  tools.push(
    executeCodeTool({
      engines,
      limits: { ...testLimits, ...limits },
      listed: () => tools,
      artifacts,
      sessions,
      ...(hidden === undefined ? {} : { hidden: await stat(hidden, { bigint: true }) }),
      ...(inputBytes === undefined ? {} : { inputBytes }),
      ...(resolve === undefined ? {} : { resolve }),
    }),
  );
  const capstan = opened.use(await openTestDoor(tools));
  const owned = opened.move();
  return {
    ...capstan,
    artifacts,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
    run: (code: string, over: object = {}, request: Parameters<typeof capstan.call>[2] = {}) =>
      capstan.call("execute_code", { language: "javascript", code, ...over }, request),
  };
}

import { counted } from "../core/counted.ts";
import { sha256 } from "../core/json.ts";
import type { StartRequest } from "../host/host.ts";
import { describeGrant } from "../permissions/describe.ts";
import type { ExitCode, Session } from "./command.ts";
import { toJsonText } from "./json.ts";

/** `capstan run --dry-run`: what the run would be, on stdout. Nothing is called or spent, and no run is written. */
export async function showPlan(
  { app, print }: Session,
  request: StartRequest,
  { json }: { readonly json?: boolean },
): Promise<ExitCode> {
  const plan = await app.host.plan(request);
  const { model, agent, system, grant, tools, limits, settings, reserved, reservedMicroUsd, problems } = plan;
  const code = problems.length === 0 ? 0 : 2;
  const systemHash = sha256(system);
  if (json === true) {
    print(toJsonText({ ...plan, systemHash }));
    return code;
  }
  const { turns, timeMs, costMicroUsd, parallel } = limits;
  const by = agent === undefined ? "" : ` for the agent ${agent.name} (version ${agent.version})`;
  print(`Model ${model}${by}, settings ${JSON.stringify(settings)}.`);
  print(`System prompt of ${counted(system.length, "character")}, sha256 ${systemHash}.`);
  const most = [counted(turns, "turn"), `${timeMs / 1_000} s`, inUsd(costMicroUsd)].join(", ");
  print(`At most ${most}, ${counted(parallel, "tool call")} at a time.`);
  if (reserved === null) print("Nothing is reserved: there is no model behind it.");
  else {
    const input = counted(reserved.inputUncached, "token");
    const cost = inUsd(reservedMicroUsd);
    print(`For the first turn are reserved: ${input} in (estimated), ${reserved.output} out, ${cost}.`);
  }
  for (const problem of problems) print(`It can't be done so: ${problem}`);
  print(`${counted(tools.length, "tool")} offered: ${tools.join(", ")}.`);
  for (const line of describeGrant(grant, app.permissions.now())) print(`  ${line}`);
  return code;
}

const inUsd = (micro: number): string => `${(micro / 1e6).toFixed(4)} USD`;

import { CapstanError } from "../core/error.ts";
import type { EventBody, RunInput } from "../core/event.ts";
import { RunLimits } from "../core/event.ts";
import { newId } from "../core/id.ts";
import { fit } from "../core/issue.ts";
import { redact } from "../core/redact.ts";
import type { Run } from "../core/run.ts";
import { mergeTaint, trusted } from "../core/taint.ts";
import type { Grant } from "../permissions/grant.ts";
import { toRunGrant } from "../permissions/run-grant.ts";
import type { ToolName } from "../permissions/narrow.ts";
import type { RecordWrite } from "../store/store.ts";
import { toToolName } from "../tools/tool.ts";
import type { Agents } from "./agents/agents.ts";
import { prepareAgent } from "./agents/prepare-agent.ts";
import { toContextRules } from "./context/config.ts";
import { toRunRules } from "./guardrails/run-rules.ts";
import { screenBeginning } from "./guardrails/screen-inputs.ts";
import type { HostServices, StartRequest } from "./host.ts";
import type { Provider } from "./provider.ts";

/** A run before its beginning: who answers, under which grant, and its first events. Of it only its agent's version is on record. */
export interface PreparedRun {
  readonly runId: string;
  readonly provider: Provider;
  /** Derived from the starter's, bound to the run. */
  readonly grant: Grant;
  readonly bodies: readonly [EventBody & { type: "run.created" }, ...EventBody[]];
  /** The run that it goes on from, as of the event that it follows. */
  readonly before?: Run;
  /** What is put on record with its beginning. */
  readonly records?: readonly RecordWrite[];
}

/** All that is decided before a run begins. Throws `usage.bad_option`, `provider.*`, `permission.widen`. */
export async function prepareRun(
  asked: StartRequest,
  services: HostServices & { readonly agents: Agents },
): Promise<PreparedRun> {
  const { permissions, door, config } = services;
  const tools = (): readonly ToolName[] => door.list(asked.grant).map(toToolName);
  const { request, toSystem, agent, allow, guardrails } = await prepareAgent(asked, { ...services, tools });
  const { task, model, baseUrl, grant, parent, settings, runId = newId("run") } = request;
  if (task.trim() === "") throw new CapstanError("usage.bad_option", "The task is empty. Say what is to be done.");
  const provider = services.openProvider(model, baseUrl);
  const limits = toLimits(request.limits);
  const narrowed = allow === undefined ? {} : { allow, tools: tools() };
  const whole = toRunGrant(grant, { id: newId("grant"), runId, now: permissions.now(), limits, ...narrowed });
  const given = [config.guardrails, guardrails];
  const rules = await toRunRules(request, { grant: whole }, { ...services, given });
  const own = rules.grant;
  const taint = mergeTaint(request.taint ?? trusted, await permissions.taints.of(grant));
  const created = {
    type: "run.created" as const,
    task: redact(task),
    model,
    ...(baseUrl === undefined ? {} : { baseUrl }),
    ...(agent === undefined ? {} : { agent }),
    limits: { ...limits, parallel: Math.max(1, Math.min(limits.parallel, own.limits.parallel ?? Infinity)) },
    grantId: own.id,
    ...(taint.length === 0 ? {} : { taint: [...taint] }),
    ...(parent === undefined ? {} : { parent }),
    ...(settings === undefined ? {} : { settings }),
    ...toContextRules(config, model, provider),
    ...rules.recorded,
  };
  const received = toInputs(request).map((input) => ({ type: "input.received" as const, input }));
  const { guardrails: screens } = rules.recorded;
  const bodies = await screenBeginning([created, ...received], screens, async (clean) => {
    return (await toSystem((text) => clean(redact(text)))) + rules.told;
  });
  return { runId, provider, grant: own, bodies };
}

/** What came with the task. */
function toInputs({ context, attachments = [] }: StartRequest): readonly RunInput[] {
  const inputs: RunInput[] = [];
  if (context !== undefined) inputs.push({ type: "message", text: redact(context), taint: ["stdin"] });
  if (attachments.length > 0) {
    const text = "These pictures came with the task.";
    inputs.push({ type: "message", text, content: [...attachments], taint: ["attachment"] });
  }
  return inputs;
}

/** The limits of a run. Throws `usage.bad_option` for those that none can have. */
export function toLimits(limits: RunLimits): RunLimits {
  const fitted = fit(RunLimits, limits, "limits");
  if ("data" in fitted) return fitted.data;
  const problems = fitted.problems.map(({ text }) => text).join("; ");
  throw new CapstanError("usage.bad_option", `The limits of the run can't be used: ${problems}.`);
}

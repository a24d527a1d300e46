import type { EventBody } from "../../core/event.ts";
import type { Guardrails } from "../../core/guardrails.ts";
import type { JsonObject } from "../../core/json.ts";
import { deepFreeze } from "../../core/json.ts";
import type { Scope } from "../../core/scope.ts";
import type { Grant } from "../../permissions/grant.ts";
import type { Store } from "../../store/store.ts";
import { schemaInWords, toAnswerSchema } from "../answer-schema.ts";
import { combineGuardrails, isListed } from "./rules.ts";

/** The rules that whoever starts a run may give it. */
export interface RuleRequest {
  /** The answer must be JSON of this schema; the model is asked again at most `tries` times, or twice. */
  readonly answerSchema?: { readonly schema: JsonObject; readonly tries?: number };
  /** Beside those of the config, of the agent and of the run that this one belongs to: rules only become more. */
  readonly guardrails?: Guardrails;
}

interface Around {
  readonly store: Store;
  readonly scope: Scope;
  /** Those of the config and of the agent. */
  readonly given: readonly (Guardrails | undefined)[];
}

/** The rules of a run as its first event has them, and its grant without the tools that they leave out. */
interface RunRules {
  readonly recorded: Pick<EventBody & { type: "run.created" }, "answerSchema" | "guardrails">;
  readonly grant: Grant;
  /** What they add to the system prompt. */
  readonly told: string;
}

/** Puts the rules of a run together before it begins. Throws `usage.bad_option` for a schema or a pattern that can't be used. */
export async function toRunRules(
  request: RuleRequest & { readonly parent?: { readonly runId: string } },
  { grant }: Pick<RunRules, "grant">,
  { store, scope, given }: Around,
): Promise<RunRules> {
  const { parent } = request;
  const inherited = parent === undefined ? undefined : await guardrailsOf(parent.runId, store, scope);
  const all = [...given, inherited, request.guardrails].filter((part) => part !== undefined);
  const guardrails = combineGuardrails(
    all,
    grant.rights.tools.map(({ name }) => name),
  );
  const answerSchema =
    request.answerSchema === undefined
      ? undefined
      : toAnswerSchema(request.answerSchema.schema, request.answerSchema.tries);
  return {
    recorded: {
      ...(answerSchema === undefined ? {} : { answerSchema }),
      ...(guardrails === undefined ? {} : { guardrails }),
    },
    grant: withoutUnlisted(grant, guardrails),
    told: answerSchema === undefined ? "" : `\n\n${schemaInWords(answerSchema.schema)}`,
  };
}

/** A run that another one starts keeps its rules: a task that is handed on does not get out of them. */
async function guardrailsOf(runId: string, store: Store, scope: Scope): Promise<Guardrails | undefined> {
  for await (const event of store.events(scope, runId)) {
    return event.type === "run.created" ? event.guardrails : undefined;
  }
  return undefined;
}

function withoutUnlisted(grant: Grant, { tools }: Guardrails = {}): Grant {
  if (tools === undefined) return grant;
  const left = grant.rights.tools.filter(({ name }) => isListed(name, tools));
  return deepFreeze({ ...grant, rights: { ...grant.rights, tools: left } });
}

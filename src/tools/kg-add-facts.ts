import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import type { Graphs } from "../knowledge/graphs.ts";
import { GraphName } from "../knowledge/graphs.ts";
import type { Source } from "../knowledge/model.ts";
import { Added, Additions, toMs, When } from "../knowledge/model.ts";
import { toFailure } from "./result.ts";
import { fromZod } from "./schema.ts";
import type { CallContext, Tool } from "./tool.ts";
import { defineTool } from "./tool.ts";

const GivenSource = z.strictObject({
  kind: z.string().min(1).max(64).default("note").describe("For example document, page or mail."),
  uri: z.string().min(1).max(2_000).optional(),
  title: z.string().min(1).max(256).optional(),
  span: z.string().min(1).max(256).optional().describe("Which part of it: a page, lines."),
  observedAt: When.optional(),
});

const Input = z
  .strictObject({
    graph: GraphName.default("default"),
    ...Additions.shape,
    source: GivenSource.optional().describe("Where the facts come from, when not from the user."),
  })
  .refine(
    ({ entities, relations, facts }) => entities.length + relations.length + facts.length > 0,
    "give facts, entities or relations",
  );

/**
 * `kg_add_facts`: adds to a graph of the caller's scope. What the caller had seen is stored with every fact as its source's labels. The
 * same facts from the same source change nothing when they come again, so the call may run again after a crash.
 */
export function kgAddFactsTool({ graphs }: { readonly graphs: Graphs }): Tool {
  return defineTool({
    name: "kg_add_facts",
    title: "Remember facts",
    description:
      "Adds facts to the knowledge graph: a subject, a relation, and an object (another entity) or a value. Entities are made when " +
      "they are new, and found again by name, alias or id. A known fact is confirmed. Nothing is overwritten: a new value of a " +
      "functional relation ends the old one, which stays searchable for its time.",
    input: fromZod(Input),
    output: fromZod(z.strictObject({ graph: z.string(), ...Added.shape })),
    hints: { readOnly: false, destructive: false, idempotent: true, openWorld: false },
    effect: "idempotent",
    needs: () => [],
    async run({ graph, source, ...additions }, context) {
      context.signal.throwIfAborted();
      try {
        const { added, taint } = await graphs.write(context.scope, graph, (knowledge) =>
          knowledge.addFacts(additions, toSource(source, context)),
        );
        return { type: "done", value: { graph, ...added }, taint };
      } catch (thrown) {
        if (!(thrown instanceof CapstanError) || !thrown.code.startsWith("knowledge.")) throw thrown;
        // The sentence may quote what the graph holds, whoever wrote that.
        return toFailure(thrown, ["knowledge"]);
      }
    },
  });
}

function toSource(given: z.infer<typeof GivenSource> | undefined, { principal, taint }: CallContext): Source {
  const { kind = "note", uri, title, span, observedAt } = given ?? {};
  return {
    kind,
    ...(uri === undefined ? {} : { uri }),
    ...(title === undefined ? {} : { title }),
    ...(span === undefined ? {} : { span }),
    ...(observedAt === undefined ? {} : { observedAt: toMs(observedAt) }),
    actor: principal.user,
    taint,
  };
}

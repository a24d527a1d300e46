import type { JsonObject } from "../../../core/json.ts";

/** What the user is called in the graph: "my dog is old" is a fact about this. */
export const ownName = "user";

/** How a fact may be said: subject, then how it relates, then what to. */
const sentences: readonly RegExp[] = [
  /^(?<subject>.+?) is (?:the|a|an) (?<relation>[\w -]+? of) (?<object>.+)$/is,
  /^(?<subject>.+?) (?:is|was) (?<relation>married to|born in|born on|part of|based in|located in|located at|friends with|made by) (?<object>.+)$/is,
  /^(?<subject>.+?) (?<relation>works (?:at|for|with|on|in)|lives (?:in|at|with)|comes from|depends on|belongs to|reports to|moved to) (?<object>.+)$/is,
  /^(?<subject>.+?) (?<relation>likes|loves|hates|knows|owns|uses|has|needs|prefers|speaks|wrote|made|leads|plays|studies) (?<object>.+)$/is,
  /^(?<subject>.+?) is (?<relation>an?) (?<object>.+)$/is,
  /^(?<subject>my) (?<relation>.+?) is (?<value>.+)$/is,
  /^(?<subject>.+?)['’]s (?<relation>.+?) (?:is|are) (?<value>.+)$/is,
  /^(?<subject>.+?) (?<relation>is|are) (?<value>.+)$/is,
];

/** A sentence as a fact of the knowledge graph; null when it is none that a pattern knows. */
export function toFact(sentence: string): JsonObject | null {
  for (const pattern of sentences) {
    const found = pattern.exec(sentence.trim().replace(/\.$/, ""))?.groups;
    if (found === undefined) continue;
    const { subject = "", relation = "", object, value = "" } = found;
    const who = /^(?:my|i)$/i.test(subject) ? ownName : subject;
    const how = /^an?$/i.test(relation) ? "is_a" : relation.toLowerCase().replaceAll(/[\s-]+/g, "_");
    return { subject: who, relation: how, ...(object === undefined ? { value } : { object }), text: sentence };
  }
  return null;
}

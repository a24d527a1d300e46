import type { JsonObject } from "../../../core/json.ts";
import { toExpression } from "./expression.ts";
import { ownName, toFact } from "./fact.ts";

/** One tool call of a plan. `said` is the part of the task that asked for it. */
export interface Step {
  readonly tool: string;
  readonly args: JsonObject;
  readonly said: string;
}

/** How a part of a task that asks for one tool may sound. */
interface Pattern {
  readonly tool: string;
  /** Shown to a person who asks what there is. */
  readonly example: string;
  readonly match: RegExp;
  /** null: it sounds like this, but it is not. */
  readonly toArgs: (groups: Readonly<Record<string, string | undefined>>) => JsonObject | null;
}

const todo = String.raw`(?:todo|to-do|task|reminder)`;
const id = String.raw`(?<id>[0-9a-f]{8}-[0-9a-f-]{27})`;
const path = String.raw`(?:"(?<quoted>[^"]+)"|(?<path>[~./][^\s"]*|[^\s"]+/[^\s"]*))`;

/** In order: the first that fits is taken. Each is anchored, so that "do not delete" is not a "delete". */
const patterns: readonly Pattern[] = [
  {
    tool: "todo_list",
    example: "show me all my todos",
    match: new RegExp(
      String.raw`^(?:show|list|print|display|see|get|give me|tell me|what are|which are)(?: me)?(?: all)?(?: of)?(?: the| my)*(?: all)?(?: (?<status>open|pending|unfinished|remaining|done|completed|finished))? ${todo}s?(?: list)?(?: (?:do i have|are there))?$`,
      "i",
    ),
    toArgs: ({ status }) =>
      status === undefined ? {} : { status: /^(?:open|pending|un|rem)/i.test(status) ? "open" : "done" },
  },
  {
    tool: "todo_update",
    example: "mark todo ID as done",
    match: new RegExp(
      String.raw`^(?:(?:mark|set) (?:the )?${todo} ${id} (?:as |to )?(?<state>done|completed?|finished|open|undone)|(?<verb>complete|finish|close|check off|reopen) (?:the )?${todo} ${id.replace("id", "id2")})$`,
      "i",
    ),
    toArgs: ({ id: first, id2, state, verb }) => ({
      id: first ?? id2 ?? "",
      done: !/^(?:open|undone|reopen)$/i.test(state ?? verb ?? ""),
    }),
  },
  {
    tool: "todo_update",
    example: "rename todo ID to water the plants",
    match: new RegExp(String.raw`^(?:rename|change) (?:the )?${todo} ${id} to (?<text>.+)$`, "is"),
    toArgs: ({ id: which = "", text = "" }) => ({ id: which, text: unquote(text) }),
  },
  {
    tool: "todo_delete",
    example: "delete todo ID",
    match: new RegExp(String.raw`^(?:delete|remove) (?:the )?${todo} ${id}$`, "i"),
    toArgs: ({ id: which = "" }) => ({ id: which }),
  },
  {
    tool: "todo_add",
    example: "add a todo to buy milk",
    match: new RegExp(
      String.raw`^(?:(?:add|create|make)(?: a| an| the)?(?: new)? ${todo}(?: item)?(?: to| that| for| saying| called| named|:)? (?<text>.+)|remind me to (?<remind>.+)|(?:add|put) (?<put>.+) (?:to|on|into) (?:my |the )?${todo}s?(?: list)?)$`,
      "is",
    ),
    toArgs: ({ text, remind, put }) => ({ text: unquote(text ?? remind ?? put ?? "") }),
  },
  {
    tool: "calculator",
    example: "calculate 17 * 23",
    match: /^(?<verb>calculate|compute|evaluate|work out|how much is|what is|what's)? ?(?<text>.+)$/is,
    toArgs: ({ verb, text = "" }) => {
      const expression = toExpression(text, /^(?:calculate|compute|evaluate|work out)$/i.test(verb ?? ""));
      return expression === null ? null : { expression };
    },
  },
  {
    tool: "fs_list",
    example: "list the files in /home/me/project",
    match: new RegExp(
      String.raw`^(?:list|show|ls|what is|what's)(?: me)?(?: all)?(?: the| my)?(?: files| folders| contents| entries)?(?: in| of| under| inside)?(?: the)?(?: folder| directory)? ${path}$`,
      "i",
    ),
    toArgs: (groups) => ({ path: toPath(groups) }),
  },
  {
    tool: "fs_list",
    example: "list the files in src",
    match:
      /^(?:list|show)(?: me)?(?: all)?(?: the| my)? (?:files|folders|contents|entries) (?:in|of|under|inside)(?: the)?(?: folder| directory)? (?<path>[^\s"]+)$/i,
    toArgs: (groups) => ({ path: toPath(groups) }),
  },
  {
    tool: "fs_list",
    example: "list my folders",
    match: /^(?:list|show|which are)(?: me)?(?: all)?(?: the| my)? (?:files|folders|granted folders)$/i,
    toArgs: () => ({}),
  },
  {
    tool: "fs_stat",
    example: "stat /home/me/notes.txt",
    match: new RegExp(
      String.raw`^(?:stat|describe|inspect|how (?:big|large|old) is|what kind of file is|(?:file )?info(?:rmation)? (?:on|of|about))(?: the)?(?: file| folder)? ${path}$`,
      "i",
    ),
    toArgs: (groups) => ({ paths: [toPath(groups)] }),
  },
  {
    tool: "kg_add_facts",
    example: "remember that Anna works at Globex",
    match: /^(?:remember|note|memorize|keep in mind)(?: that|:)? (?<text>.+)$/is,
    toArgs: ({ text = "" }) => {
      const fact = toFact(unquote(text));
      return fact === null ? null : { facts: [fact] };
    },
  },
  {
    tool: "kg_search",
    example: "what do you know about Anna",
    match:
      /^(?:(?:what|all) (?:do )?(?:you|i|we) (?:know|remember) about|(?:tell me )?what (?:you|i|we) know about|recall|who is|search (?:my |the |your )?(?:memory|knowledge|knowledge graph|notes) for|search for|look up|where does|where do) (?<text>.+?)(?: (?:live|work)s?)?$/is,
    toArgs: ({ text = "" }) => ({ query: /^(?:me|myself)$/i.test(text) ? ownName : unquote(text) }),
  },
];

/** What a part of a task may sound like, for the tools that are there. */
export function examplesFor(tools: ReadonlySet<string>): readonly string[] {
  return patterns.filter(({ tool }) => tools.has(tool)).map(({ example }) => example);
}

/** The step that a part of a task asks for, without a word on whether its tool is there; null when it sounds like none. */
export function toStep(part: string): Step | null {
  const said = part.trim();
  const plain = said
    .replace(politeness, "")
    .replace(/(?:\s+please)?[\s!?]*$/i, "")
    .replace(/(?<=[\w)"])\.$/, "");
  for (const { tool, match, toArgs } of patterns) {
    const found = match.exec(plain);
    const args = found === null ? null : toArgs(found.groups ?? {});
    if (args !== null) return { tool, args, said };
  }
  return null;
}

const politeness = /^(?:(?:please|now|also|first|next|and|then|finally|can you|could you|would you)[,\s]+)+/i;

function toPath({ quoted, path: bare }: Readonly<Record<string, string | undefined>>): string {
  return quoted ?? bare ?? "";
}

/** Text that stands in quotes as a whole, without them. */
export function unquote(text: string): string {
  const inner = /^\s*(?:"(?<a>[^"]*)"|“(?<b>[^”]*)”|`(?<c>[^`]*)`)\s*$/s.exec(text)?.groups;
  return inner === undefined ? text.trim() : (inner["a"] ?? inner["b"] ?? inner["c"] ?? "");
}

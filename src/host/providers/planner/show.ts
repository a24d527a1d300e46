import { z } from "zod";
import type { ToolOutcome } from "../../../core/event.ts";
import type { Json } from "../../../core/json.ts";
import { toResultText } from "../../../core/result-text.ts";
import type { Step } from "./steps.ts";

/** What a step brought, as a person reads it. What the tool's own form does not fit is shown as JSON. */
export function showOutcome({ tool, args }: Step, outcome: ToolOutcome): string {
  const { value } = outcome;
  const shown = value === undefined ? null : (forms.get(tool)?.(value, args) ?? null);
  if (shown !== null) return plainText(shown);
  if (value === undefined || outcome.isError) return plainText(toResultText(outcome));
  return plainText(typeof value === "string" ? value : JSON.stringify(value, null, 2));
}

/** Text without what would steer a terminal: names and contents come from anywhere. */
function plainText(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]|\p{Bidi_Control}/gu, "\uFFFD").trimEnd();
}

/** A form for the values of one tool; null where the value is not of its shape. */
type Form = (value: Json, args: Step["args"]) => string | null;

function form<T>(schema: z.ZodType<T>, show: (value: T, args: Step["args"]) => string): Form {
  return (value, args) => {
    const parsed = schema.safeParse(value);
    return parsed.success ? show(parsed.data, args) : null;
  };
}

const Todo = z.object({ id: z.string(), text: z.string(), done: z.boolean() });
const Code = z.object({
  status: z.string(),
  stdout: z.string(),
  stderr: z.string(),
  result: z.json(),
  error: z.string().optional(),
});
const Entry = z.object({
  path: z.string(),
  kind: z.string().optional(),
  size: z.number().optional(),
  unread: z.string().optional(),
});
const Item = Entry.extend({
  mediaType: z.string().optional(),
  modifiedAt: z.string().nullish(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
});

const Fact = z.object({
  subject: z.object({ name: z.string() }),
  relation: z.string(),
  object: z.object({ name: z.string() }).optional(),
  value: z.string().optional(),
  text: z.string().optional(),
});
const Entity = z.object({ name: z.string(), type: z.string(), summary: z.string().optional(), facts: z.array(Fact) });

const showTodo = ({ id, text, done }: z.infer<typeof Todo>): string => `[${done ? "x" : " "}] ${text}  (${id})`;
const lines = (all: readonly string[], none: string): string => (all.length === 0 ? none : all.join("\n"));

const forms: ReadonlyMap<string, Form> = new Map([
  ["todo_add", form(Todo, (todo) => `Added: ${showTodo(todo)}`)],
  ["todo_update", form(Todo, showTodo)],
  [
    "todo_delete",
    form(z.object({ id: z.string(), deleted: z.boolean() }), ({ id, deleted }) =>
      deleted ? `Deleted todo ${id}.` : `There was no todo ${id}.`,
    ),
  ],
  [
    "todo_list",
    form(z.object({ todos: z.array(Todo), nextCursor: z.string().optional() }), ({ todos, nextCursor }) =>
      lines([...todos.map(showTodo), ...more(nextCursor)], "There are no todos."),
    ),
  ],
  [
    "calculator",
    form(
      z.object({ result: z.string(), exact: z.boolean() }),
      ({ result, exact }, { expression }) =>
        `${JSON.stringify(expression).slice(1, -1)} ${exact ? "=" : "≈"} ${result}`,
    ),
  ],
  ["execute_code", form(Code, showCode)],
  [
    "kg_add_facts",
    form(z.object({ added: z.int(), ended: z.int() }), ({ added, ended }) =>
      added === 0 ? "I knew that." : `Remembered.${ended === 0 ? "" : " It replaces what was known before."}`,
    ),
  ],
  [
    "kg_search",
    form(
      z.object({ results: z.array(Entity), nextCursor: z.string().optional() }),
      ({ results, nextCursor }, { query }) =>
        lines([...results.map(showEntity), ...more(nextCursor)], `Nothing is known about ${JSON.stringify(query)}.`),
    ),
  ],
  [
    "fs_list",
    form(
      z.object({ entries: z.array(Entry), nextCursor: z.string().optional(), note: z.string().optional() }),
      (list) =>
        lines(
          [...list.entries.map(showEntry), ...more(list.nextCursor), ...(list.note === undefined ? [] : [list.note])],
          "It is empty.",
        ),
    ),
  ],
  ["fs_stat", form(z.object({ items: z.array(Item) }), ({ items }) => items.map(showItem).join("\n"))],
]);

function more(cursor: string | undefined): readonly string[] {
  return cursor === undefined ? [] : ["(there are more)"];
}

function showCode({ status, stdout, stderr, result, error }: z.infer<typeof Code>): string {
  const parts = [
    stdout.trimEnd(),
    stderr.trimEnd(),
    ...(result === null ? [] : [typeof result === "string" ? result : JSON.stringify(result)]),
    ...(status === "ok" ? [] : [`The code ended with status ${status}.${error === undefined ? "" : ` ${error}`}`]),
  ].filter((part) => part !== "");
  return lines(parts, "The code ran and printed nothing.");
}

function showEntity({ name, type, summary, facts }: z.infer<typeof Entity>): string {
  const told = facts.map(({ subject, relation, object, value, text }) => {
    const plain = `${subject.name} ${relation.replaceAll("_", " ")} ${object?.name ?? value ?? ""}`;
    return `  ${text ?? plain}`;
  });
  return [`${name} (${type})${summary === undefined ? "" : `: ${summary}`}`, ...told].join("\n");
}

function showEntry({ path, kind, size, unread }: z.infer<typeof Entry>): string {
  const what =
    kind === "folder" ? "/" : kind === "file" && size !== undefined ? `  ${size} bytes` : `  ${kind ?? unread ?? ""}`;
  return `${path}${what}`.trimEnd();
}

function showItem({ path, kind, size, mediaType, modifiedAt, error }: z.infer<typeof Item>): string {
  if (error !== undefined) return `${path}: ${error.code}: ${error.message}`;
  const facts = [
    kind,
    mediaType,
    size === undefined ? undefined : `${size} bytes`,
    modifiedAt ? `modified ${modifiedAt}` : undefined,
  ];
  return `${path}: ${facts.filter((fact) => fact !== undefined).join(", ")}`;
}

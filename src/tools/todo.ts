import { z } from "zod";
import type { Clock } from "../core/clock.ts";
import { mergeTaint } from "../core/taint.ts";
import type { Store } from "../store/store.ts";
import { fromZod } from "./schema.ts";
import { addTodo, changeTodo, deleteTodo, listTodos, maxTextLength, Todo, toTodo, toTodoId } from "./todo-records.ts";
import type { Outcome, Tool } from "./tool.ts";
import { defineTool } from "./tool.ts";

interface TodoServices {
  readonly store: Store;
  readonly clock: Clock;
}

const TodoText = z.string().trim().min(1).max(maxTextLength);
const TodoId = z
  .string()
  .regex(/^[0-9a-f-]{36}$/, "expected the id of a todo, as todo_list shows it")
  .describe("As todo_add and todo_list give it.");
const Cursor = z
  .string()
  .regex(/^[0-9TZ:.-]{24}\/[0-9a-f-]{36}$/, "expected the nextCursor of an earlier page")
  .describe("The nextCursor of the page before.");

/**
 * The todos of the caller's scope: `todo_add`, `todo_list`, `todo_update`, `todo_delete`. What a todo's writers had seen is stored with
 * it and comes back with every result that shows it.
 */
export function todoTools(services: TodoServices): readonly Tool[] {
  return [todoAdd(services), todoList(services), todoUpdate(services), todoDelete(services)];
}

function todoAdd({ store, clock }: TodoServices): Tool {
  return defineTool({
    name: "todo_add",
    title: "Add a todo",
    description: "Adds a todo to the list of this project and returns it with its id.",
    input: fromZod(z.strictObject({ text: TodoText })),
    output: fromZod(Todo),
    hints: { readOnly: false, destructive: false, idempotent: false, openWorld: false },
    // The same call gives the same id; only another call adds another todo, hence the hint above.
    effect: "idempotent",
    needs: () => [],
    async run({ text }, { callId, scope, taint }) {
      const now = new Date(clock()).toISOString();
      const todo = { id: toTodoId(callId), text, done: false, createdAt: now, updatedAt: now, taint: [...taint] };
      return toOutcome(await addTodo(store, scope, todo));
    },
  });
}

function todoList({ store }: TodoServices): Tool {
  return defineTool({
    name: "todo_list",
    title: "List todos",
    description: "Lists the todos of this project, oldest first, in pages.",
    input: fromZod(
      z.strictObject({
        status: z.enum(["open", "done", "all"]).default("all"),
        limit: z.int().min(1).max(200).default(50),
        cursor: Cursor.optional(),
      }),
    ),
    output: fromZod(z.strictObject({ todos: z.array(Todo), nextCursor: z.string().optional() })),
    hints: { readOnly: true, destructive: false, idempotent: true, openWorld: false },
    effect: "read",
    needs: () => [],
    async run({ status, limit, cursor }, { scope }) {
      const states = status === "all" ? (["open", "done"] as const) : [status];
      const { todos, next, taint } = await listTodos(store, scope, { states, after: cursor, limit });
      return { type: "done", value: { todos: [...todos], ...(next === undefined ? {} : { nextCursor: next }) }, taint };
    },
  });
}

function todoUpdate({ store, clock }: TodoServices): Tool {
  return defineTool({
    name: "todo_update",
    title: "Change a todo",
    description: "Marks a todo as done or open, or replaces its text. What is not given stays as it is.",
    input: fromZod(
      z
        .strictObject({ id: TodoId, text: TodoText.optional(), done: z.boolean().optional() })
        .refine(({ text, done }) => text !== undefined || done !== undefined, "give text, done or both"),
    ),
    output: fromZod(Todo),
    // Destructive in MCP's sense: the text that was there is gone, so the change is more than an addition.
    hints: { readOnly: false, destructive: true, idempotent: true, openWorld: false },
    effect: "idempotent",
    needs: () => [],
    async run({ id, text, done }, { scope, taint }) {
      const todo = await changeTodo(store, scope, id, (old) => {
        const next = { ...old, text: text ?? old.text, done: done ?? old.done };
        if (next.text === old.text && next.done === old.done) return old;
        return { ...next, updatedAt: new Date(clock()).toISOString(), taint: [...mergeTaint(old.taint, taint)] };
      });
      return toOutcome(todo);
    },
  });
}

function todoDelete({ store }: TodoServices): Tool {
  return defineTool({
    name: "todo_delete",
    title: "Delete a todo",
    description: "Deletes a todo for good. Deleting one that is not there changes nothing.",
    input: fromZod(z.strictObject({ id: TodoId })),
    output: fromZod(z.strictObject({ id: z.string(), deleted: z.boolean().describe("Whether there was one.") })),
    hints: { readOnly: false, destructive: true, idempotent: true, openWorld: false },
    effect: "idempotent",
    needs: () => [],
    run: async ({ id }, { scope }) => ({ type: "done", value: { id, deleted: await deleteTodo(store, scope, id) } }),
  });
}

function toOutcome(todo: Parameters<typeof toTodo>[0]): Outcome<Todo> {
  return { type: "done", value: toTodo(todo), taint: todo.taint };
}

import { createHash } from "node:crypto";
import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import type { Scope } from "../core/scope.ts";
import type { Taint } from "../core/taint.ts";
import { mergeTaint } from "../core/taint.ts";
import type { RecordWrite, Store } from "../store/store.ts";

/** Characters of a todo's text. */
export const maxTextLength = 2_000;

/** A todo as callers see it. The formats are told in words: spelled out as patterns they would fill a client's context. */
export const Todo = z.strictObject({
  id: z.string().describe("UUID"),
  text: z.string(),
  done: z.boolean(),
  createdAt: z.string().describe("ISO 8601, UTC"),
  updatedAt: z.string().describe("ISO 8601, UTC"),
});
export type Todo = Readonly<z.infer<typeof Todo>>;

/** As it is stored: with the labels of all who wrote it. */
const StoredTodo = Todo.extend({ taint: z.array(z.string()) });
export type StoredTodo = Readonly<z.infer<typeof StoredTodo>>;

/**
 * Two records per todo, written in one batch: the todo under its id, and an entry of the listing under its state and age. The store
 * sorts by key, so a page of the listing is a page of keys, however many todos there are.
 */
const kind = "todo";
const listing = "todo-listing";

/** Each attempt fails only when another writer got through, so this many mean a crowd that is no accident. */
const maxAttempts = 20;

/**
 * The id that a call gives to its todo: the same for the same call, so that a call that runs again after a crash makes no twin.
 * A version 8 UUID (RFC 9562, section 5.8) of 122 bits of the SHA-256 of the call's id.
 */
export function toTodoId(callId: string): string {
  const bytes = createHash("sha256").update(`todo ${callId}`).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** Stores a new todo. One with its id that is there already stays as it is and is returned. */
export async function addTodo(store: Store, scope: Scope, todo: StoredTodo): Promise<StoredTodo> {
  try {
    await store.commit({ scope, records: [{ kind, key: todo.id, value: todo, ifVersion: 0 }, entryOf(todo)] });
    return todo;
  } catch (thrown) {
    if (!isConflict(thrown)) throw thrown;
    // Missing now: it was added before and has just been deleted.
    return (await find(store, scope, todo.id))?.todo ?? todo;
  }
}

/**
 * Changes a todo by `change`, which is called again on what another writer made of it in between, so that parallel changes of
 * different fields are all kept. Throws `todo.not_found`.
 */
export async function changeTodo(
  store: Store,
  scope: Scope,
  id: string,
  change: (todo: StoredTodo) => StoredTodo,
): Promise<StoredTodo> {
  return untilNoConflict(async () => {
    const found = await find(store, scope, id);
    if (found === null) {
      throw new CapstanError(
        "todo.not_found",
        `There is no todo ${id}. List the todos with todo_list to see their ids.`,
      );
    }
    const next = change(found.todo);
    if (next === found.todo) return next;
    const records = [
      { kind, key: id, value: next, ifVersion: found.version },
      { kind: listing, key: entryKey(found.todo) },
      entryOf(next),
    ];
    await store.commit({ scope, records });
    return next;
  });
}

/** Deletes a todo and tells whether there was one. */
export async function deleteTodo(store: Store, scope: Scope, id: string): Promise<boolean> {
  return untilNoConflict(async () => {
    const found = await find(store, scope, id);
    if (found === null) return false;
    const records = [
      { kind, key: id, ifVersion: found.version },
      { kind: listing, key: entryKey(found.todo) },
    ];
    await store.commit({ scope, records });
    return true;
  });
}

/** A page of todos, oldest first; `next` continues behind it and is missing on the last page. */
export async function listTodos(
  store: Store,
  scope: Scope,
  options: {
    readonly states: readonly ("open" | "done")[];
    readonly after: string | undefined;
    readonly limit: number;
  },
): Promise<{ readonly todos: readonly Todo[]; readonly next?: string; readonly taint: Taint }> {
  const { states, after, limit } = options;
  const pages = await Promise.all(
    states.map(async (state) => {
      const prefix = `${state}/`;
      const range = { prefix, limit: limit + 1, ...(after === undefined ? {} : { after: `${prefix}${after}` }) };
      return (await store.records(scope, listing, range)).map(({ key }) => key.slice(prefix.length));
    }),
  );
  const places = pages.flat().sort();
  const page = places.slice(0, limit);
  const last = page.at(-1);
  const found = await Promise.all(page.map((place) => find(store, scope, place.slice(place.indexOf("/") + 1))));
  // One that another writer deleted in between is left out.
  const todos = found.flatMap((item) => (item === null ? [] : [item.todo]));
  return {
    todos: todos.map(toTodo),
    ...(places.length > limit && last !== undefined ? { next: last } : {}),
    taint: mergeTaint(...todos.map(({ taint }) => taint)),
  };
}

/** A todo without its labels, which go beside the result. */
export function toTodo({ taint: _taint, ...todo }: StoredTodo): Todo {
  return todo;
}

async function find(
  store: Store,
  scope: Scope,
  id: string,
): Promise<{ readonly todo: StoredTodo; readonly version: number } | null> {
  const record = await store.record(scope, kind, id);
  return record === null ? null : { todo: StoredTodo.parse(record.value), version: record.version };
}

/** ISO times in UTC with milliseconds sort as text. */
const entryKey = ({ id, done, createdAt }: StoredTodo): string => `${done ? "done" : "open"}/${createdAt}/${id}`;

const entryOf = (todo: StoredTodo): RecordWrite => ({ kind: listing, key: entryKey(todo), value: null });

const isConflict = (thrown: unknown): boolean => thrown instanceof CapstanError && thrown.code === "store.conflict";

async function untilNoConflict<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = maxAttempts; ; left -= 1) {
    try {
      return await attempt();
    } catch (thrown) {
      if (left <= 1 || !isConflict(thrown)) throw thrown;
    }
  }
}

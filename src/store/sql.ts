import type { DatabaseSync, SQLInputValue, SQLOutputValue } from "node:sqlite";
import { CapstanError } from "../core/error.ts";
import type { Scope } from "../core/scope.ts";

export type Row = readonly SQLOutputValue[];

/** A prepared statement whose rows are arrays, in the order of its columns. */
export interface Query {
  get(...values: SQLInputValue[]): Row | undefined;
  all(...values: SQLInputValue[]): readonly Row[];
  iterate(...values: SQLInputValue[]): Iterable<Row>;
  run(...values: SQLInputValue[]): void;
}

/** Prepares a statement once; running it again costs about a microsecond. */
export function toQuery(db: DatabaseSync, sql: string): Query {
  const statement = db.prepare(sql);
  statement.setReturnArrays(true);
  return {
    get(...values) {
      const row = statement.get(...values);
      return row === undefined ? undefined : toRow(row);
    },
    all: (...values) => statement.all(...values).map(toRow),
    iterate: (...values) => statement.iterate(...values).map(toRow),
    run(...values) {
      statement.run(...values);
    },
  };
}

/** Node's types describe rows as objects and don't follow `setReturnArrays`. */
function toRow(row: unknown): Row {
  if (Array.isArray(row)) return row;
  throw new TypeError("A row of a prepared query is not an array.");
}

/** A column that must be text; anything else means a damaged file (`store.corrupt`). */
export function text(value: SQLOutputValue | undefined): string {
  if (typeof value === "string") return value;
  throw corrupt("text", value);
}

/** A column that must be an integer. */
export function integer(value: SQLOutputValue | undefined): number {
  if (typeof value === "number") return value;
  throw corrupt("an integer", value);
}

/** A column that must be bytes. */
export function bytes(value: SQLOutputValue | undefined): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw corrupt("bytes", value);
}

function corrupt(expected: string, value: unknown): CapstanError {
  return new CapstanError(
    "store.corrupt",
    `The store's file is damaged: a column that must hold ${expected} holds ${value === null ? "null" : typeof value}. Restore it from a backup.`,
  );
}

/** A scope as one column: no name in it holds a slash, so two scopes never share a text. */
export const scopeKey = (scope: Scope): string => `${scope.org}/${scope.project}`;

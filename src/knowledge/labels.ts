import { z } from "zod";
import type { Taint } from "../core/taint.ts";
import { mergeTaint, trusted } from "../core/taint.ts";

/** How labels are kept in `source.meta` and `entity.attrs`; null means trusted. */
const Labels = z.object({ taint: z.array(z.string()) });

/** The labels of a column. */
export function readLabels(column: unknown): Taint {
  return typeof column === "string" ? Labels.parse(JSON.parse(column)).taint : trusted;
}

/** The union of the labels of several columns. */
export const readAllLabels = (columns: readonly unknown[]): Taint => mergeTaint(...columns.map(readLabels));

/** The column for these labels. */
export const writeLabels = (taint: Taint): string | null => (taint.length === 0 ? null : JSON.stringify({ taint }));

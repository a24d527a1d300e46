import { z } from "zod";
import { evaluate } from "./calculator/evaluate.ts";
import { toResult } from "./calculator/format.ts";
import { constants, functions } from "./calculator/functions.ts";
import { parseExpression } from "./calculator/parse.ts";
import { fromZod } from "./schema.ts";
import type { Tool } from "./tool.ts";
import { defineTool } from "./tool.ts";

const Input = z.strictObject({
  expression: z
    .string()
    .describe("For example (1 + 2) * 3 ^ 2 / 7, sqrt(2), round(10 / 3, 2) or 20!. At most 2,000 characters."),
});

const Output = z.strictObject({
  result: z.string().describe("The value in decimal digits."),
  exact: z.boolean().describe("Whether result is the value itself; otherwise it is rounded."),
  fraction: z.string().optional().describe("The exact value, where result is a rounded one."),
});

/**
 * Arithmetic over an own syntax tree: nothing is evaluated as code. Whole and decimal numbers are exact fractions, so 0.1 + 0.2 is
 * 0.3; roots, logarithms and angles are floating point with 15 digits shown. Throws `calculator.*` inside the call.
 */
export function calculatorTool(): Tool {
  return defineTool({
    name: "calculator",
    title: "Calculator",
    description:
      "Computes an arithmetic expression. Operators: + - * / % (remainder) ^ (power, from the right) ! (factorial) and parentheses. " +
      `Functions: ${[...functions.keys()].join(", ")}. Constants: ${[...constants.keys()].join(", ")}. Angles are in radians. ` +
      "Whole numbers, decimals and fractions are exact.",
    input: fromZod(Input),
    output: fromZod(Output),
    hints: { readOnly: true, destructive: false, idempotent: true, openWorld: false },
    effect: "read",
    needs: () => [],
    run: async ({ expression }) => ({
      type: "done",
      value: toResult(evaluate(parseExpression(expression), expression)),
    }),
  });
}

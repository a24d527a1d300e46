import { describe, expect, test } from "vitest";
import { calculatorTool } from "../../src/tools/calculator.ts";
import { callTool } from "../support/call-context.ts";

const calculator = calculatorTool();

const compute = async (expression: string) => (await callTool(calculator, { expression })).value;

describe("calculator", () => {
  test.each([
    ["1 + 2 * 3", "7"],
    ["(1 + 2) * 3", "9"],
    ["2 - 3 - 4", "-5"],
    ["2 ^ 3 ^ 2", "512"],
    ["2 ** 10", "1024"],
    ["-2 ^ 2", "-4"],
    ["(-2) ^ 2", "4"],
    ["2 ^ -1", "0.5"],
    ["2 * -3", "-6"],
    ["--2", "2"],
    ["+2", "2"],
    ["-3!", "-6"],
    ["3!!", "720"],
    ["0!", "1"],
    ["2 ^ 3!", "64"],
    ["7 % 3", "1"],
    ["-7 % 3", "-1"],
    ["7 % -3", "1"],
    ["5.5 % 2", "1.5"],
    ["0.1 + 0.2", "0.3"],
    ["1e3 + 1E-3 + .5 + 2.", "1002.501"],
    ["9007199254740993 + 2", "9007199254740995"],
    ["2 ^ 200", "1606938044258990275541962092341162602522202993782792835301376"],
    ["3 × 4 ÷ 6 − 1 · 2", "0"],
    ["1 / 8", "0.125"],
    ["1 / 4 / 5", "0.05"],
    ["1 ^ 99999999999999999999", "1"],
    ["(-1) ^ 99999999999999999999", "-1"],
    ["0 ^ 99999999999999999999", "0"],
    ["0 ^ 0", "1"],
    ["sqrt(16 / 25)", "0.8"],
    ["abs(-3) + min(2, 1, 3) + max(1, pi - pi)", "5"],
    ["floor(-1.5)", "-2"],
    ["ceil(-1.5)", "-1"],
    ["trunc(-1.5)", "-1"],
    ["round(2.5) + round(-2.5)", "0"],
    ["round(10 / 3, 2)", "3.33"],
    ["round(1234, -2)", "1200"],
    ["SQRT(4)", "2"],
  ])("%s is exactly %s", async (expression, result) => {
    expect(await compute(expression)).toEqual({ result, exact: true });
  });

  test.each([
    ["1 / 3", "0.333333333333333333333333333333", "1/3"],
    ["2 / 3", "0.666666666666666666666666666667", "2/3"],
    ["-1 / 7e9", "-1.42857142857142857142857142857e-10", "-1/7000000000"],
    ["2 * 10 ^ 31 / 3", "6.66666666666666666666666666667e30", "20000000000000000000000000000000/3"],
    ["6 / 4 / 9", "0.166666666666666666666666666667", "1/6"],
  ])("%s is rounded to %s, with the exact fraction beside it", async (expression, result, fraction) => {
    expect(await compute(expression)).toEqual({ result, exact: false, fraction });
  });

  test.each([
    ["sqrt(2)", "1.4142135623731"],
    ["2 ^ 0.5", "1.4142135623731"],
    ["sqrt(2) ^ 2", "2"],
    ["cbrt(-27)", "-3"],
    ["exp(1) - e", "0"],
    ["ln(e) + log2(8) + log10(1000)", "7"],
    ["sin(pi / 2) + cos(0) + tan(0)", "2"],
    ["4 * atan(1)", "3.14159265358979"],
    ["asin(1) + acos(1)", "1.5707963267949"],
    ["round(pi, 3)", "3.142"],
    ["-sin(0)", "0"],
    ["pi % 3", "0.141592653589793"],
  ])("%s is about %s", async (expression, result) => {
    expect(await compute(expression)).toEqual({ result, exact: false });
  });

  test.each([
    ["", 1],
    ["   ", 4],
    ["2 + * 3", 5],
    ["10%", 4],
    ["2pi", 2],
    ["2 3", 3],
    ["((1)", 5],
    ["1)", 2],
    ["()", 2],
    ["1,000", 2],
    ["1_000", 2],
    ["1.2.3", 4],
    ["max()", 1],
    ["max(1,)", 7],
    ["sqrt(1, 2)", 1],
    ["sqrt", 1],
    ["1 + foo(2)", 5],
    ["1 + bar", 5],
    ["constructor(1)", 1],
    ["__proto__", 1],
    ["1 + process.exit()", 12],
    ["2 + 💥", 5],
    ['"1" + 1', 1],
    ["x = 1", 3],
  ])("%j is refused at character %i", async (expression, position) => {
    await expect(compute(expression)).rejects.toMatchObject({ code: "calculator.syntax", details: { position } });
  });

  test("shows what stands around a syntax error", async () => {
    await expect(compute(`${"1+".repeat(30)}*2`)).rejects.toThrow(
      'At character 61 (…1+1+1+1+1+1+1+1+1+1+▸*2): expected a number, a name or "(", got "*".',
    );
  });

  test.each([
    "1 / 0",
    "1 % 0",
    "pi / 0",
    "pi % 0",
    "0 ^ -1",
    "sqrt(-1)",
    "ln(0)",
    "log10(-1)",
    "asin(2)",
    "(-8) ^ (1 / 3)",
    "(-1)!",
    "0.5!",
    "pi!",
    "round(1, 0.5)",
    "round(1, 101)",
  ])("%s has no result", async (expression) => {
    await expect(compute(expression)).rejects.toMatchObject({ code: "calculator.domain" });
  });

  test.each([
    ["a tower of powers", "9^9^9^9"],
    ["a power with a long exponent", "9^9999999999999999999999"],
    ["a negative power", "9^-99999"],
    ["a literal with a huge exponent", "1e999999999"],
    ["a literal with a huge negative exponent", "1e-999999999"],
    ["a factorial", "9999!"],
    ["a factorial of a factorial", "9!!"],
    ["a product that grows", Array.from({ length: 100 }, () => "1e100").join("*")],
    ["an approximate result out of range", "exp(1000)"],
    ["an exact number too large to approximate", "ln(10 ^ 400)"],
    ["deep parentheses", `${"(".repeat(500)}1${")".repeat(500)}`],
    ["deep calls", `${"abs(".repeat(200)}1${")".repeat(200)}`],
    ["many signs", `${"-".repeat(1_000)}1`],
    ["many powers", `${"1^".repeat(900)}1`],
    ["a megabyte", "1+".repeat(500_000)],
    ["a megabyte of digits", "1".repeat(1_000_000)],
    ["fractions that are dear to add up", `0${"+1/7^4000+1/11^3000".repeat(100)}`],
  ])("refuses %s before it costs time", async (_what, expression) => {
    const start = performance.now();
    await expect(compute(expression)).rejects.toMatchObject({ code: "calculator.too_large" });
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  test.each([{}, { expression: 1 }, { expression: "1", mode: "fast" }, [], null])(
    "refuses the arguments %j",
    async (args) => {
      await expect(callTool(calculator, args)).rejects.toMatchObject({ code: "tool.bad_arguments" });
    },
  );
});

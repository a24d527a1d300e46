import { describe, expect, test } from "vitest";
import { toTerminal } from "../../src/cli/terminal.ts";

describe("toTerminal()", () => {
  test.each([
    ["an escape sequence", "a\u001b[2Jb", "a\\u{1b}[2Jb"],
    ["a title that is set by one character", "\u009d0;x\u0007", "\\u{9d}0;x\\u{7}"],
    ["a line that is written over", "denied\rallowed", "denied\\u{d}allowed"],
    ["a text that is turned around", "\u202egnp.exe", "\\u{202e}gnp.exe"],
  ])("shows %s instead of obeying it", (_, text, shown) => {
    expect(toTerminal(text)).toBe(shown);
  });

  test("leaves lines, tabs and the scripts of the world as they are", () => {
    const text = 'Zeile 1\n\t"größer" 日本語 עברית 👩‍👩‍👧\n';
    expect(toTerminal(text)).toBe(text);
  });
});

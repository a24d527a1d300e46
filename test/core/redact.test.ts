import { describe, expect, test } from "vitest";
import { redact, redactJson } from "../../src/core/redact.ts";

const token = ["eyJhbGciOiJFZERTQSJ9", "eyJqdGkiOiJncmFudF8xIn0", "c2lnbmF0dXJlLXNpZ25hdHVyZQ"].join(".");

describe("redact()", () => {
  test("takes out what looks like a token, wherever a word may begin", () => {
    expect(redact(`a ${token}, "${token}"=${token}\n${token}`)).toBe(
      'a [redacted token], "[redacted token]"=[redacted token]\n[redacted token]',
    );
    expect(redactJson({ a: [`\n${token}`, 1, null], b: { c: true } })).toEqual({
      a: ["\n[redacted token]", 1, null],
      b: { c: true },
    });
  });

  test("leaves everything else as it is", () => {
    for (const text of ["", "eyJ", "eyJhbGci.eyJ.x", "e.y.J", "https://example.org/eyJhbGciOiJFZERTQSJ9"]) {
      expect(redact(text)).toBe(text);
    }
  });

  test("takes linear time on hostile text", () => {
    const started = performance.now();
    for (const text of ["eyJ".repeat(700_000), "eyJaaaaaaaa.".repeat(180_000), `eyJ${"a".repeat(2_000_000)}`])
      redact(text);
    expect(performance.now() - started).toBeLessThan(20_000);
  });
});

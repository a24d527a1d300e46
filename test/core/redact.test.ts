import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { openRedactor, redact, redactJson, redactJsonText } from "../../src/core/redact.ts";
import { pureCases } from "../support/cases.ts";

const token = ["eyJhbGciOiJFZERTQSJ9", "eyJqdGkiOiJncmFudF8xIn0", "c2lnbmF0dXJlLXNpZ25hdHVyZQ"].join(".");

/** Written in two halves, so that no scanner takes this file for one that holds keys. */
const made = (start: string, letters: number): string => start + "aB3".repeat(Math.ceil(letters / 3)).slice(0, letters);
const keys = [
  made("sk-proj-", 40),
  made("sk-ant-api03-", 40),
  made("sk-", 48),
  made("gsk_", 52),
  made("hf_", 34),
  made("npm_", 36),
  `AKIA${"ABCD".repeat(4)}`,
  made("AIza", 35),
  made("ghp_", 36),
  made("github_pat_", 60),
  made("glpat-", 20),
  made("xoxb-", 30),
  made("sk_live_", 24),
  made("SG.aaaaaaaaaaaaaaaaaaaaaa.", 43),
];
const pem = (kind: string): string => `-----BEGIN ${kind}-----\n${"MIIEvQIBADAN+/=\n".repeat(5)}-----END ${kind}-----`;

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

  test.each(keys)("takes out the key %s", (key) => {
    expect(redact(`a ${key}, "${key}"=${key}.\n`)).toBe('a [redacted key], "[redacted key]"=[redacted key].\n');
    expect(redact(`https://example.org/x${key}`)).toContain(key);
  });

  test("takes out private keys, and leaves what is public beside them", () => {
    const left = `${pem("CERTIFICATE")}\nx\n${pem("PUBLIC KEY")}\n`;
    for (const kind of ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"]) {
      expect(redact(`${left}${pem(kind)}\n${left}`)).toBe(`${left}[redacted private key]\n${left}`);
      const cut = pem(kind).slice(0, -20);
      expect(redact(`a\n${cut} and more`)).not.toContain("MIIEv");
      expect(redact(JSON.stringify({ key: cut.slice(0, 90), b: 1 }))).toMatch(/"\[redacted private key\]","b":1/);
    }
    expect(redact("It begins with -----BEGIN PRIVATE KEY----- and then")).toBe(
      "It begins with [redacted private key] and then",
    );
  });

  test("sees through the escapes of JSON, and leaves clean JSON as it was written", () => {
    const [key = ""] = keys;
    expect(redactJsonText(`{ "a": "x\\n${key}" }`)).toBe('{"a":"x\\n[redacted key]"}');
    expect(redactJsonText(`{ "a": "\\u0073${key.slice(1)}" }`)).toBe('{"a":"[redacted key]"}');
    expect(redactJsonText('{ "a": 1.0 }')).toBe('{ "a": 1.0 }');
    expect(redactJsonText(`{"a":"${key}","a":"x"}`)).toBe('{"a":"[redacted key]","a":"x"}');
    expect(redactJsonText(`{"${key}":1}`)).toBe('{"[redacted key]":1}');
    expect(redactJsonText(`{ "a": ${key}`)).toBe('{ "a": [redacted key]');
    for (const escape of [String.raw`\n`, String.raw`\t`, String.raw`\u000a`]) {
      expect(redact(`"a${escape}${key}"`)).toBe(`"a${escape}[redacted key]"`);
      expect(redact(`"a${escape}${token}"`)).toBe(`"a${escape}[redacted token]"`);
    }
    expect(redact(String.raw`\n` + "a" + key)).toContain(key);
  });

  test("shows of a text in pieces no more than of the whole, however it is cut", () => {
    const word = fc.constantFrom(
      ...keys,
      token,
      pem("RSA PRIVATE KEY"),
      pem("CERTIFICATE"),
      "-----BEGIN ",
      "plain",
      "1.5",
    );
    const space = fc.constantFrom(" ", "\n", ", ", "“", "漢", String.raw`\n`, String.raw`\u000a`);
    const text = fc.array(fc.tuple(word, space)).map((pairs) => pairs.flat().join(""));
    const cuts = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 });
    const property = fc.property(text, cuts, (whole, sizes) => {
      const redactor = openRedactor();
      let shown = "";
      for (let at = 0, turn = 0; at < whole.length; turn += 1) {
        const size = sizes[turn % sizes.length] ?? 1;
        shown += redactor.push(whole.slice(at, at + size));
        at += size;
      }
      expect(shown + redactor.end()).toBe(redact(whole));
    });
    fc.assert(property, { numRuns: pureCases });
  });

  test("takes linear time on hostile text", () => {
    const started = performance.now();
    const starts = [
      "eyJ",
      "eyJaaaaaaaa.",
      "sk-proj-",
      "SG.aaaaaaaaaaaaaaaa.",
      "-----BEGIN PRIVATE KEY-----",
      "-----BEGIN A ",
      "-----BEGIN A-----END B-----",
    ];
    for (const start of starts) {
      for (const text of [start.repeat(400_000 / start.length), start + "a".repeat(400_000)]) {
        redact(text);
        const redactor = openRedactor();
        for (let at = 0; at < text.length; at += 20) redactor.push(text.slice(at, at + 20));
        redactor.end();
        expect(openRedactor().push(`${text} `).length).toBeLessThanOrEqual(text.length + 1);
      }
    }
    expect(performance.now() - started).toBeLessThan(20_000);
  });
});

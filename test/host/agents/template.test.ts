import { describe, expect, test } from "vitest";
import { checkTemplate, renderTemplate } from "../../../src/host/agents/template.ts";

describe("renderTemplate()", () => {
  test.each([
    ["You review {{ language }}.", { language: "Rust" }, "You review Rust."],
    ["{{ name | upcase }}{% if count > 2 %} often{% endif %}", { name: "x", count: 3 }, "X often"],
    ["{% if strict %}Be strict.{% else %}Be kind.{% endif %}", { strict: false }, "Be kind."],
    ["{% for i in (1..3) %}{{ i }}{% endfor %}", {}, "123"],
  ])("puts variables in their places: %s", async (text, variables, rendered) => {
    expect(await renderTemplate(text, variables, "the agent a")).toBe(rendered);
  });

  test("takes no value for a template", async () => {
    const hostile = "{{ 1 | plus: 1 }}{% include 'keys/signing.key' %}{{ secret }}";
    expect(await renderTemplate("{{ name }}", { name: hostile, secret: "s" }, "the agent a")).toBe(hostile);
  });

  test.each([
    ["a variable that is not there", "{{ missing }}", "undefined variable: missing"],
    ["a filter that is not there", "{{ name | nosuch }}", "undefined filter: nosuch"],
    ["a tag that is not closed", "{% if name", "not closed"],
    ["a file", "{% include 'capstan.yaml' %}", 'tag "include" not found'],
    ["a file, rendered", "{% render 'capstan.yaml' %}", 'tag "render" not found'],
    ["a layout", "{% layout 'capstan.yaml' %}", 'tag "layout" not found'],
    ["a block", "{% block a %}{% endblock %}", 'tag "block" not found'],
    ["a file in other words", "{% liquid include 'capstan.yaml' %}", 'tag "include" not found'],
    ["what an object inherits", "{{ constructor.constructor }}", "undefined variable: constructor"],
    ["what a string inherits", "{{ name.constructor }}", "undefined variable: name.constructor"],
    ["a loop that has no end", "{% for i in (1..1000000000) %}x{% endfor %}", "memory alloc limit exceeded"],
    ["loops in loops", "{% for i in (1..999999) %}{% for j in (1..999) %}x{% endfor %}{% endfor %}", "limit exceeded"],
    ["too much text", `{% for i in (1..10) %}${"x".repeat(30_000)}{% endfor %}`, "more than 262144 characters"],
    [
      "a text that doubles",
      "{% assign a = name %}{% for i in (1..60) %}{% assign a = a | append: a %}{% endfor %}",
      "",
    ],
    ["a template that is too long", "x".repeat(65_537), "more than 65536 characters"],
  ])("refuses %s, and says whose instructions they are", async (_, text, why) => {
    const rendering = renderTemplate(text, { name: "abc" }, "the agent a");
    await expect(rendering).rejects.toMatchObject({
      code: "config.bad_value",
      message: expect.stringMatching(/^The instructions of the agent a can't be used: /),
    });
    await expect(rendering).rejects.toThrow(why);
  });
});

describe("checkTemplate()", () => {
  test("finds what rendering would not, with no values at hand", async () => {
    const text =
      "{% assign own = 1 %}{{ own }}{% for i in list %}{{ i }}{% endfor %}{% if false %}{{ lost }}{% endif %}";
    await expect(checkTemplate(text, ["list"], "the agent a")).rejects.toThrow(
      "they use lost, which is no variable of it. It declares list.",
    );
    await expect(checkTemplate(text, ["list", "lost"], "the agent a")).resolves.toBeUndefined();
  });
});

import type { PromptSource } from "../../../src/tools/prompt.ts";
import type { ResourceSource } from "../../../src/tools/resource.ts";

/** 250 notes; the seventh came from the web, the ninth asks before it opens. */
export const testResources: ResourceSource = {
  name: "notes",
  owns: (uri) => uri.startsWith("test://notes/"),
  list: async () =>
    Array.from({ length: 250 }, (_, index) => ({
      uri: `test://notes/${index + 1}`,
      name: `note ${index + 1}`,
      mimeType: "text/plain",
      bytes: 4,
    })),
  templates: async () => [{ uriTemplate: "test://notes/{number}", name: "a note" }],
  async read(uri, { resumed }) {
    const number = Number(uri.slice("test://notes/".length));
    if (!(number >= 1 && number <= 250)) return null;
    if (number === 9 && resumed === undefined) {
      const schema = { type: "object", properties: { why: { type: "string" } } };
      return { type: "waiting", requests: [{ id: "why", type: "form", message: "Why?", schema }], state: number };
    }
    const text = resumed === undefined ? `text ${number}` : JSON.stringify([resumed.state, resumed.responses]);
    return { type: "done", contents: [{ uri, text }], taint: number === 7 ? ["web"] : [] };
  },
  complete: async (_template, { argument }) =>
    ["1", "10", "100", "2"].filter((value) => value.startsWith(argument.value)),
};

export const testPrompts: PromptSource = {
  name: "prompts",
  list: async () => [
    { name: "weather", description: "Asks for the weather.", arguments: [{ name: "city", required: true }] },
  ],
  get: async (_name, { city = "nowhere" }) => ({
    type: "done",
    messages: [{ role: "user", content: { type: "text", text: `How is the weather in ${city}?` } }],
  }),
  complete: async (_name, { argument }) => ["Rome", "Riga", "Oslo"].filter((city) => city.startsWith(argument.value)),
};

import type { Prompt, PromptOutcome, PromptSource } from "../../src/tools/prompt.ts";
import type { Resource, ResourceContents, ResourceSource } from "../../src/tools/resource.ts";
import { embedded, image, png, text } from "./fixture-content.ts";
import { form, isAnswered, textField } from "./fixture-questions.ts";

const listed: readonly Resource[] = [
  { uri: "test://static-binary", name: "A picture", description: "A picture.", mimeType: "image/png" },
  { uri: "test://static-text", name: "A text", description: "A text.", mimeType: "text/plain" },
  { uri: "test://watched-resource", name: "Watched", description: "For subscribers.", mimeType: "text/plain" },
];

/** The resources that the conformance suite reads. */
export const conformanceResources: ResourceSource = {
  name: "conformance",
  owns: (uri) => uri.startsWith("test://"),
  list: async () => listed,
  templates: async () => [
    {
      uriTemplate: "test://template/{id}/data",
      name: "By id",
      description: "Says its id.",
      mimeType: "application/json",
    },
  ],
  async read(uri) {
    const contents = toContents(uri);
    return contents === undefined ? null : { type: "done", contents: [contents] };
  },
};

function toContents(uri: string): ResourceContents | undefined {
  const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1];
  if (id !== undefined) return { uri, mimeType: "application/json", text: JSON.stringify({ id }) };
  const mimeType = listed.find((resource) => resource.uri === uri)?.mimeType;
  if (mimeType === undefined) return undefined;
  return mimeType === "image/png" ? { uri, mimeType, blob: png } : { uri, mimeType, text: `What ${uri} holds.` };
}

type Messages = Extract<PromptOutcome, { type: "done" }>["messages"];
type Get = (args: Readonly<Record<string, string>>) => Messages;

const argument = (name: string) => ({ name, description: name, required: true });
const toMessages = (...content: readonly Messages[number]["content"][]): Messages =>
  content.map((block) => ({ role: "user", content: block }));

/** The prompts that answer at once: what they are listed as, and what they say. */
const prompts: Readonly<Record<string, { readonly arguments: readonly string[]; readonly get: Get }>> = {
  test_simple_prompt: { arguments: [], get: () => toMessages(text("This is a simple prompt for testing.")) },
  test_prompt_with_arguments: {
    arguments: ["arg1", "arg2"],
    get: ({ arg1, arg2 }) => toMessages(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)),
  },
  test_prompt_with_embedded_resource: {
    arguments: ["resourceUri"],
    get: ({ resourceUri = "" }) => toMessages(embedded(resourceUri), text("Please process the resource above.")),
  },
  test_prompt_with_image: { arguments: [], get: () => toMessages(image, text("Please look at the image above.")) },
};

const askingPrompt = "test_input_required_result_prompt";
const question = form("user_context", "What context should the prompt use?", { context: textField });
/** Comes and goes. */
const passingPrompt = "test_passing_prompt";

/** All names, so that a grant can hold them. */
export const promptNames = [...Object.keys(prompts), askingPrompt, passingPrompt];

/** The prompts that the conformance suite gets. `isThere`: whether the one that comes and goes is there now. */
export function conformancePrompts(isThere: () => boolean): PromptSource {
  return {
    name: "conformance",
    async list() {
      const names = promptNames.filter((name) => name !== passingPrompt || isThere());
      return names.map(toListed);
    },
    async get(name, args, { resumed }) {
      if (name !== askingPrompt) return { type: "done", messages: prompts[name]?.get(args) ?? [] };
      const responses = resumed?.responses ?? {};
      if (!isAnswered([question], responses)) return { type: "waiting", requests: [question], state: null };
      return { type: "done", messages: toMessages(text(`In this context: ${JSON.stringify(responses)}`)) };
    },
    complete: async (_name, { argument: { value } }) =>
      ["paris", "park", "test1"].filter((one) => one.startsWith(value)),
  };
}

function toListed(name: string): Prompt {
  return { name, title: name, description: name, arguments: (prompts[name]?.arguments ?? []).map(argument) };
}

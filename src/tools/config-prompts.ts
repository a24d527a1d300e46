import { nearest } from "../core/nearest.ts";
import type { PromptSource } from "./prompt.ts";
import { badArguments } from "./schema.ts";

/** A prompt as the operator wrote it: `{{ name }}` in its text stands for an argument. */
interface WrittenPrompt {
  readonly title?: string | undefined;
  readonly description: string;
  readonly text: string;
  readonly arguments: Readonly<
    Record<string, { readonly description: string; readonly required: boolean; readonly values: readonly string[] }>
  >;
}

/** The prompts of the config. What stands for an argument is put in once and never read again: an argument can't name another. */
export function configPrompts(written: Readonly<Record<string, WrittenPrompt>>): PromptSource {
  const prompts = new Map(Object.entries(written).sort(([a], [b]) => (a < b ? -1 : 1)));
  return {
    name: "config",
    list: async () =>
      [...prompts].map(([name, { title, description, arguments: args }]) => ({
        name,
        ...(title === undefined ? {} : { title }),
        description,
        arguments: Object.entries(args).map(([argument, { description: about, required }]) => ({
          name: argument,
          description: about,
          required,
        })),
      })),
    async get(name, given) {
      const prompt = prompts.get(name);
      if (prompt === undefined) throw badArguments([`there is no prompt ${name}`]);
      demandFitting(prompt, given);
      const text = prompt.text.replace(/\{\{\s*([\w-]+)\s*\}\}/g, (whole, argument: string) =>
        Object.hasOwn(prompt.arguments, argument) ? valueOf(given, argument) : whole,
      );
      return {
        type: "done",
        description: prompt.description,
        messages: [{ role: "user", content: { type: "text", text } }],
      };
    },
    async complete(name, { argument }) {
      const known = prompts.get(name)?.arguments ?? {};
      const values = Object.hasOwn(known, argument.name) ? (known[argument.name]?.values ?? []) : [];
      return values.filter((value) => value.toLowerCase().startsWith(argument.value.toLowerCase()));
    },
  };
}

/** An argument that is left out is empty, also one that is called `constructor`. */
function valueOf(given: Readonly<Record<string, string>>, argument: string): string {
  return Object.hasOwn(given, argument) ? (given[argument] ?? "") : "";
}

/** Throws `tool.bad_arguments` for an argument that is missing or that the prompt does not have. */
function demandFitting({ arguments: known }: WrittenPrompt, given: Readonly<Record<string, string>>): void {
  const missing = Object.entries(known).filter(([name, { required }]) => required && !Object.hasOwn(given, name));
  const unknown = Object.keys(given).filter((name) => !Object.hasOwn(known, name));
  const problems = [
    ...missing.map(([name]) => `${name}: required`),
    ...unknown.map((name) => {
      const meant = nearest(name, Object.keys(known));
      return `${name}: no such argument${meant === undefined ? "" : `; did you mean ${meant}?`}`;
    }),
  ];
  if (problems.length > 0) throw badArguments(problems);
}

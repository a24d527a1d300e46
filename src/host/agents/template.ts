import type { Liquid } from "liquidjs";
import { CapstanError } from "../../core/error.ts";

/** What a template may be given. */
export type Variables = Readonly<Record<string, string | number | boolean>>;

/** A template, and what it renders, have at most so many characters. */
export const maxTemplateChars = 64 * 1024;
const maxRenderedChars = 256 * 1024;
/** What rendering may take: a template of instructions needs a thousandth of it. */
const limits = { parseLimit: maxTemplateChars, renderLimit: 2_000, memoryLimit: 4 * 1024 * 1024 };

/** The tags that read other templates: there are none here, neither in files nor beside this one. */
const readingTags = ["include", "render", "layout", "block"];

/**
 * A Liquid template with its variables in their places. It reads nothing but them, and what it takes is bounded. Throws
 * `config.bad_value` for a template that does not parse, names what is not there, or takes too much; `called` says whose it is.
 */
export async function renderTemplate(text: string, variables: Variables, called: string): Promise<string> {
  const rendered = await attempt(text, called, (engine) => engine.parseAndRenderSync(text, { ...variables }));
  if (typeof rendered === "string" && rendered.length <= maxRenderedChars) return rendered;
  throw bad(called, `they would have more than ${maxRenderedChars} characters`);
}

/** Throws what rendering would throw for a template that does not parse, or that uses a variable that is not among `names`. */
export async function checkTemplate(text: string, names: readonly string[], called: string): Promise<void> {
  const used = await attempt(text, called, (engine) => engine.globalVariablesSync(text));
  const unknown = used.filter((name) => !names.includes(name));
  if (unknown.length === 0) return;
  const known = names.length === 0 ? "It declares none." : `It declares ${names.join(", ")}.`;
  throw bad(
    called,
    `they use ${unknown.join(", ")}, which is no variable of it. ${known} Add it there, or take it out`,
  );
}

async function attempt<T>(text: string, called: string, act: (engine: Liquid) => T): Promise<T> {
  if (text.length > maxTemplateChars) throw bad(called, `they have more than ${maxTemplateChars} characters`);
  const engine = await openEngine();
  try {
    return act(engine);
  } catch (cause) {
    const why = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : "they can't be read";
    throw bad(called, why, cause);
  }
}

async function openEngine(): Promise<Liquid> {
  // Half a megabyte of source: most runs have no template.
  const liquid = await import("liquidjs");
  const engine = new liquid.Liquid({
    ownPropertyOnly: true,
    strictVariables: true,
    strictFilters: true,
    templates: {},
    ...limits,
  });
  for (const tag of readingTags) delete engine.tags[tag];
  return engine;
}

function bad(called: string, why: string, cause?: unknown): CapstanError {
  return new CapstanError("config.bad_value", `The instructions of ${called} can't be used: ${why}.`, { cause });
}

import { newId } from "../../src/core/id.ts";
import { localPrincipal, localScope } from "../../src/core/scope.ts";
import type { Grant, Rights } from "../../src/permissions/grant.ts";
import type { Caller } from "../../src/tools/call.ts";
import type { PromptSource } from "../../src/tools/prompt.ts";
import type { ReadingRequest } from "../../src/tools/reading.ts";
import type { CompletionRequest, ResourceSource } from "../../src/tools/resource.ts";
import { codeOfAsync } from "../permissions/grants.ts";
import { openTestDoor, toGrant } from "../support/door.ts";

/** Pages of books, `books://SHELF/PAGE`, with a template by shelf; `asked` tells what it was asked for. `over` changes parts of it. */
export function books(over: Partial<ResourceSource> = {}): ResourceSource & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    name: "books",
    owns: (uri) => uri.startsWith("books://"),
    list: async () => ["open/1", "open/2", "closed/1"].map((page) => ({ uri: `books://${page}`, name: page })),
    templates: async () => [
      { uriTemplate: "books://open/{page}", name: "an open page" },
      { uriTemplate: "books://closed/{page}", name: "a closed page" },
      { uriTemplate: "books://{shelf}/{page}", name: "a page" },
    ],
    async read(uri) {
      asked.push(uri);
      return uri.endsWith("/none")
        ? null
        : { type: "done", contents: [{ uri, text: `text of ${uri}` }], taint: ["web"] };
    },
    async complete(uriTemplate, { argument }) {
      asked.push(uriTemplate);
      return argument.name === "shelf" ? ["open", "closed"] : ["1", "2", "a/b", "../1"];
    },
    ...over,
    asked,
  };
}

/** Two prompts, whose argument is not completed. */
export const silentLetters: PromptSource = {
  name: "letters",
  list: async () => ["greeting", "farewell"].map((name) => ({ name, arguments: [{ name: "to", required: false }] })),
  get: async (name, { to = "you" }) => ({
    type: "done",
    messages: [{ role: "user", content: { type: "text", text: `${name} to ${to}` } }],
  }),
};

/** The same, completed. */
export const letters: PromptSource = {
  ...silentLetters,
  complete: async (name, { argument }) =>
    ["Ann", "Bob"].map((who) => `${who}, ${name}`).filter((who) => who.startsWith(argument.value)),
};

interface Parts {
  readonly resources?: readonly ResourceSource[];
  readonly prompts?: readonly PromptSource[];
  readonly rights?: Partial<Rights>;
  readonly limits?: Grant["limits"];
}

export const openShelf: Partial<Rights> = {
  resources: [{ type: "uri", under: "books://open/" }],
  prompts: ["greeting"],
};

/** A real door with these sources, and what a caller asks there whose grant has the rights, by default to the open shelf and one prompt. */
export async function openReader({
  resources = [books()],
  prompts = [letters],
  rights = openShelf,
  limits = {},
}: Parts = {}) {
  const opened = await openTestDoor([], undefined, { resources, prompts });
  const { door, permissions } = opened;
  const base = toGrant([], permissions.now(), permissions.epoch(localPrincipal));
  const grant: Grant = { ...base, rights: { ...base.rights, ...rights }, limits };
  const request = (by: Partial<Caller> = {}): ReadingRequest => ({
    caller: { principal: localPrincipal, scope: localScope, grant, taint: [], depth: 0, ...by },
    callId: newId("call"),
    signal: new AbortController().signal,
  });
  const complete = (
    of: { prompt: string } | { uriTemplate: string },
    name: string,
    filled: CompletionRequest["filled"] = {},
  ) => door.complete({ ...request(), of, completion: { argument: { name, value: "" }, filled } });
  const read = (uri: string, by?: Partial<Caller>) => door.readResource({ ...request(by), uri });
  return {
    ...opened,
    grant,
    request,
    read,
    get: (name: string, args: Readonly<Record<string, string>> = {}) => door.getPrompt({ ...request(), name, args }),
    complete,
    uris: async () => (await door.listResources(request())).map(({ uri }) => uri),
    templates: async () => (await door.listTemplates(request())).map(({ uriTemplate }) => uriTemplate),
    prompts: async () => (await door.listPrompts(request())).map(({ name }) => name),
    /** The rows of the audit log as `action name decision reason`. */
    rows: async () =>
      (await opened.audit()).map(({ entry: { action, name, decision, reason } }) =>
        [action, name, decision, ...(reason === undefined ? [] : [reason])].join(" "),
      ),
    code: async (uri: string) => await codeOfAsync(() => read(uri)),
  };
}

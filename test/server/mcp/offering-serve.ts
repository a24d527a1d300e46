import { z } from "zod";
import type { Grant } from "../../../src/permissions/grant.ts";
import type { Offering } from "../../../src/server/mcp/offering.ts";
import { artifactResources } from "../../../src/tools/artifact-resources.ts";
import type { ArtifactLimits } from "../../../src/tools/artifacts.ts";
import { describeToolTool } from "../../../src/tools/describe-tool.ts";
import type { PromptSource } from "../../../src/tools/prompt.ts";
import type { ResourceSource } from "../../../src/tools/resource.ts";
import { fromZod } from "../../../src/tools/schema.ts";
import { searchToolsTool } from "../../../src/tools/search-tools.ts";
import type { Tool } from "../../../src/tools/tool.ts";
import type { Source } from "../../../src/tools/toolbox.ts";
import { openTestArtifacts } from "../../support/artifacts.ts";
import { testTool } from "../../support/door.ts";
import { openHttpServer } from "./http-serve.ts";

/** Tools whose results are as large as they are asked for, in letters; `rows` has a schema, `dump` has none. */
const large: readonly Tool[] = [
  testTool("dump", { run: async ({ text }) => ({ type: "done", content: [{ type: "text", text: toText(text) }] }) }),
  testTool("dirty", {
    run: async ({ text }) => ({ type: "done", content: [{ type: "text", text: toText(text) }], taint: ["mcp:web"] }),
  }),
  testTool("rows", {
    output: fromZod(z.strictObject({ rows: z.string() })),
    run: async ({ text }) => ({ type: "done", value: { rows: toText(text) } }),
  }),
];

/** `big://COUNT`: so many letters, from the web; `big://COUNT/TIMES`: as often. */
const big: ResourceSource = {
  name: "big",
  owns: (uri) => uri.startsWith("big://"),
  list: async () => [],
  templates: async () => [],
  async read(uri) {
    const [count = "", times = "1"] = uri.slice("big://".length).split("/");
    const contents = Array.from({ length: Number(times) }, () => ({ uri, text: toText(count) }));
    return { type: "done", contents, taint: ["mcp:web"] };
  },
};

/** A prompt of as many letters as it is asked for. */
const long: PromptSource = {
  name: "long",
  list: async () => [{ name: "long", arguments: [{ name: "letters", required: true }] }],
  get: async (_name, { letters = "" }) => ({
    type: "done",
    messages: [{ role: "user", content: { type: "text", text: toText(letters) } }],
  }),
};
const prompts: Source = {
  tools: () => [],
  resources: [],
  prompts: [long],
  onChange: () => ({ [Symbol.dispose]: () => {} }),
};

/** So many letters, no two parts of which are alike. */
export function toText(letters: string | number): string {
  const count = Number(letters);
  return Array.from({ length: Math.ceil(count / 10) }, (_, index) => `${String(index).padStart(9, "é")} `)
    .join("")
    .slice(0, count);
}

/**
 * A server on stdio and HTTP that offers as `capstan serve` does, over kept artifacts. `reader` holds every tool and may read what is
 * kept; `grant` may not.
 */
export async function openOfferingServer({
  more = [],
  limits,
  ...settings
}: Partial<Omit<Offering, "artifacts">> & { readonly more?: readonly Tool[]; readonly limits?: ArtifactLimits } = {}) {
  await using opened = new AsyncDisposableStack();
  const { artifacts } = opened.use(await openTestArtifacts(limits === undefined ? {} : { limits }));
  const door: { list?: (grant: Grant) => readonly Tool[] } = {};
  const listed = (grant: Grant): readonly Tool[] => door.list?.(grant) ?? [];
  const server = opened.use(
    await openHttpServer({
      more: [...large, searchToolsTool({ listed }), describeToolTool({ listed }), ...more],
      resources: [artifactResources(artifacts), big],
      sources: [prompts],
      offering: { artifacts, discovery: "all", discoveryTokens: 0, resultBytes: 64 * 1024, ...settings },
    }),
  );
  door.list = (grant) => server.door.list(grant);
  const owned = opened.move();
  return {
    ...server,
    artifacts,
    reader: server.withRights("reader", { resources: [{ type: "any" }], prompts: ["long"] }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

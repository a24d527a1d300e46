import { countTokens } from "gpt-tokenizer/encoding/o200k_base";
import { instructions } from "../src/server/mcp/offer.ts";
import { toOffered } from "../src/server/mcp/offering.ts";
import { rankTools } from "../src/tools/discovery/rank.ts";
import type { DiscoverySettings } from "../src/tools/discovery/search.ts";
import type { Tool } from "../src/index.ts";
import { fiveHundred, wanted } from "../test/tools/discovery-tools.ts";
import { callDoor, openBenchApp, tempFolder, toBenchGrant } from "./home.ts";
import type { Figure } from "./measure.ts";
import { cpuMicros, measure, toFigure } from "./measure.ts";

const finders = ["search_tools", "describe_tool", "execute_code"];
const mostTokens = 1_500;
const searches = 20;

/** What a list of tools costs a client, in tokens of o200k, with `--discovery search` beside all of them; and how well and fast they are found. */
export async function* benchDiscovery(): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  await using app = await openBenchApp(folder.path, {}, fiveHundred);
  const grantOf = (tools: readonly Tool[]) => toBenchGrant(app, [...finders, ...tools.map(({ name }) => name)]);
  const tokensOf = (tools: readonly Tool[], discovery: DiscoverySettings["discovery"]): number => {
    const { artifacts, door, config } = app;
    const shown = toOffered(door.list(grantOf(tools)), { ...config.server, artifacts, discovery });
    return countTokens(instructions + JSON.stringify({ tools: shown }));
  };
  const tokens = { bench: "discovery", unit: "tokens", peerName: "all tools listed", rounds: 1 };
  const goal = { of: "ours", atMost: mostTokens } as const;
  for (const count of [10, 100, 500]) {
    const tools = fiveHundred.slice(0, count);
    const figure = `tools/list of ${count} tools, search`;
    yield toFigure({ ...tokens, figure }, tokensOf(tools, "search"), tokensOf(tools, "all"), goal);
  }

  const [[query, name] = ["", ""]] = wanted;
  const grant = grantOf(fiveHundred);
  const found = await callDoor(app, grant, "search_tools", { query });
  const described = await callDoor(app, grant, "describe_tool", { name });
  const looked = countTokens(JSON.stringify([found.outcome, described.outcome]));
  const all = tokensOf(fiveHundred, "all");
  yield toFigure(
    { ...tokens, figure: "500 tools: the list, a search and a description" },
    tokensOf(fiveHundred, "search") + looked,
    all,
  );

  const about = { bench: "discovery", peerName: "tools by how many words of the query their text contains" };
  yield toFigure(
    { ...about, figure: `found among the first three, of ${wanted.length}`, unit: "found", rounds: 1 },
    countFound(rankTools),
    countFound(rankByWords),
  );
  yield await measure({
    ...about,
    figure: "one search among 500 tools",
    unit: "µs CPU",
    ours: () => timeOf(rankTools),
    peer: () => timeOf(rankByWords),
  });
}

type Rank = (tools: readonly Tool[], query: string, limit: number) => readonly Tool[];

const countFound = (rank: Rank): number =>
  wanted.filter(([query, name]) => rank(fiveHundred, query, 3).some((tool) => tool.name === name)).length;

async function timeOf(rank: Rank): Promise<number> {
  return await cpuMicros(searches * wanted.length, async () => {
    for (let round = 0; round < searches; round += 1) for (const [query] of wanted) rank(fiveHundred, query, 3);
  });
}

const texts = new Map(fiveHundred.map((tool) => [tool, `${tool.name} ${tool.description}`.toLowerCase()]));

/** What a search by words finds that weighs none of them. */
function rankByWords(tools: readonly Tool[], query: string, limit: number): readonly Tool[] {
  const words = query.toLowerCase().match(/\p{L}+/gu) ?? [];
  const scores = new Map(tools.map((tool) => [tool, words.filter((word) => texts.get(tool)?.includes(word)).length]));
  return tools.toSorted((a, b) => (scores.get(b) ?? 0) - (scores.get(a) ?? 0)).slice(0, limit);
}

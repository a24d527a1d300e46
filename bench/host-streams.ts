import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import OpenAI from "openai";
import { HostConfig } from "../src/host/config.ts";
import { openProvider } from "../src/host/providers/all.ts";
import type { Figure } from "./measure.ts";
import { cpuMicros, measure } from "./measure.ts";

const chunks = 2_000;
const answers = 5;

/** What our normalised stream costs above the official SDK that it stands on. */
export async function* benchHostStreams(): AsyncGenerator<Figure> {
  const program = join(import.meta.dirname, "host-stream-server.js");
  const server = spawn(process.execPath, [program, String(chunks)], { stdio: ["pipe", "pipe", "inherit"] });
  try {
    const [line]: unknown[] = await once(server.stdout, "data");
    const baseURL = `http://127.0.0.1:${String(line).trim()}/v1`;
    const ours = openProvider("openai-compatible:mock", { config: HostConfig.parse({}), env: {}, baseUrl: baseURL });
    const sdk = new OpenAI({ apiKey: "none", baseURL, maxRetries: 0 });
    const contenders = { ours: () => streamOurs(ours), peer: () => streamSdk(sdk) };
    const about = { bench: "host", peerName: "the openai SDK alone, the same answer" };
    yield await measure({
      ...about,
      figure: `streaming, an answer of ${chunks} chunks (goal: 2 µs above the SDK)`,
      unit: "µs CPU per chunk",
      ours: () => cpuPerChunk(contenders.ours),
      peer: () => cpuPerChunk(contenders.peer),
    });
    yield await measure({
      ...about,
      figure: "streaming, to the first text (goal: 1 ms above the SDK)",
      unit: "ms",
      rounds: 31,
      ours: () => contenders.ours(),
      peer: () => contenders.peer(),
    });
  } finally {
    server.stdin.end();
  }
}

const cpuPerChunk = (stream: () => Promise<number>): Promise<number> =>
  cpuMicros(chunks * answers, async () => {
    for (let done = 0; done < answers; done += 1) await stream();
  });

/** Reads a whole answer, and says how long its first text took, in ms. */
async function streamOurs(provider: ReturnType<typeof openProvider>): Promise<number> {
  const startedAt = performance.now();
  let firstMs = NaN;
  let texts = 0;
  const messages = [{ role: "user" as const, content: [{ type: "text" as const, text: "Say much." }] }];
  const request = { model: "mock", messages, tools: [], settings: {} };
  for await (const event of provider.stream(request, new AbortController().signal)) {
    if (event.type !== "text.delta") continue;
    if (texts === 0) firstMs = performance.now() - startedAt;
    texts += 1;
  }
  if (texts !== chunks) throw new Error(`${texts} of ${chunks} chunks came.`);
  return firstMs;
}

async function streamSdk(sdk: OpenAI): Promise<number> {
  const startedAt = performance.now();
  let firstMs = NaN;
  let texts = 0;
  const messages = [{ role: "user" as const, content: "Say much." }];
  for await (const chunk of await sdk.chat.completions.create({ model: "mock", messages, stream: true })) {
    if (!chunk.choices[0]?.delta.content) continue;
    if (texts === 0) firstMs = performance.now() - startedAt;
    texts += 1;
  }
  if (texts !== chunks) throw new Error(`${texts} of ${chunks} chunks came.`);
  return firstMs;
}

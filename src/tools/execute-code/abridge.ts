import { artifactPrefix } from "../artifacts.ts";
import type { Abridging } from "../tool.ts";
import type { Output } from "./schema.ts";

/** What stays of a text: its beginning and its end, so many characters together, or fewer where these take more bytes as JSON. */
const maxShownChars = 4_000;
const maxShownBytes = 5_000;

/** A part of an answer that can go: how much it takes, and the answer without it. */
interface Part {
  readonly bytes: number;
  readonly leave: (output: Output) => Promise<Output>;
}

/**
 * The answer of a run without its largest parts, as many as it takes. Of what is printed and of the error their beginning and end stay;
 * they and the result are kept whole, as artifacts beside those that the code made. The texts of files go, which their links lead to; where
 * that is not enough, the files themselves, the last first.
 */
export async function abridge(output: Output, { fits, keep }: Abridging<Output>): Promise<Output> {
  const texts = (["stdout", "stderr", "error"] as const).map((name): Part => {
    const text = output[name] ?? "";
    return {
      bytes: sizeOf(text),
      async leave(from) {
        const path = freePath(from, `${name}.txt`);
        const kept = await keepAs(from, path, { mimeType: "text/plain", bytes: Buffer.from(text) });
        return { ...kept, [name]: shorten(text, path) };
      },
    };
  });
  const result: Part = {
    bytes: sizeOf(output.result),
    async leave(from) {
      const path = freePath(from, "result.json");
      const bytes = Buffer.from(JSON.stringify(output.result));
      const note = `the result has no room here: the artifact ${path} has it, ${bytes.length} bytes of JSON`;
      const kept = await keepAs(from, path, { mimeType: "application/json", bytes });
      return { ...kept, result: null, resultNote: joined(from.resultNote, note) };
    },
  };
  const files = output.artifacts.map(({ uri, text = "", base64 = "" }): Part => ({
    bytes: sizeOf(text + base64),
    leave: async (from) => ({
      ...from,
      artifacts: from.artifacts.map((file) => (file.uri === uri ? withoutText(file) : file)),
    }),
  }));
  const large = [...texts, result].filter(({ bytes }) => bytes > maxShownBytes);
  let shorter = output;
  for (const part of [...large, ...files].toSorted((a, b) => b.bytes - a.bytes)) {
    if (fits(shorter)) break;
    shorter = await part.leave(shorter);
  }
  const all = shorter;
  for (let left = 1; left <= files.length && !fits(shorter); left += 1) {
    shorter = withoutFiles(all, output.artifacts.slice(-left));
  }
  return shorter;

  async function keepAs(from: Output, path: string, { mimeType, bytes }: { mimeType: string; bytes: Buffer }) {
    const uri = await keep({ name: path, mimeType, bytes });
    return { ...from, artifacts: [...from.artifacts, { path, bytes: bytes.length, mimeType, uri }] };
  }
}

/** The bytes of a value as JSON. It stands in an answer twice, once in a text. */
const sizeOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));

const withoutText = ({ text: _text, base64: _base64, ...file }: Output["artifacts"][number]) => file;

const joined = (before: string | undefined, note: string): string =>
  before === undefined ? note : `${before}; ${note}`;

/** The answer without these of its files, which it counts. */
function withoutFiles(from: Output, files: Output["artifacts"]): Output {
  const left = new Set(files.map(({ uri }) => uri));
  const note = `there is no room here for ${left.size} of the files; the resources under ${artifactPrefix} have them`;
  const artifacts = from.artifacts.filter(({ uri }) => !left.has(uri));
  return { ...from, artifacts, resultNote: joined(from.resultNote, note) };
}

/** A path that no file of the run has. */
function freePath({ artifacts }: Pick<Output, "artifacts">, path: string): string {
  const isTaken = artifacts.some((file) => file.path === path);
  return isTaken ? freePath({ artifacts }, `capstan-${path}`) : path;
}

function shorten(text: string, path: string): string {
  for (let chars = maxShownChars; ; chars /= 2) {
    const [head, tail] = [text.slice(0, chars / 2).toWellFormed(), text.slice(-chars / 2).toWellFormed()];
    const left = `[${text.length - chars} characters are left out here; the artifact ${path} has them]`;
    const shown = `${head}\n${left}\n${tail}`;
    if (sizeOf(shown) <= maxShownBytes) return shown;
  }
}

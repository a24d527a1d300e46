import { readFile, stat } from "node:fs/promises";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { CapstanError } from "../core/error.ts";

type Env = Readonly<Record<string, string | undefined>>;

/**
 * The token that this process was started with: `--grant`, else the file that CAPSTAN_GRANT_FILE names, else CAPSTAN_GRANT. Each that
 * is there must hold a token: an empty one refuses (`token.malformed`) and nothing else is tried. undefined where there is none.
 */
export async function readToken(option: string | undefined, env: Env): Promise<string | undefined> {
  const file = env["CAPSTAN_GRANT_FILE"];
  if (option !== undefined) return await readTokenArgument(option);
  if (file !== undefined) return await readOwnFile(file);
  const plain = env["CAPSTAN_GRANT"];
  return plain === undefined ? undefined : demandToken(plain, "CAPSTAN_GRANT");
}

/** A token as the command line takes it: `@FILE`, `-` for stdin, or the text itself. At a terminal `-` asks for it, or for `@FILE`. */
export async function readTokenArgument(argument: string): Promise<string> {
  if (argument === "-") {
    if (!process.stdin.isTTY) return demandToken(await text(process.stdin), "stdin");
    const typed = demandToken(await askForToken(), "what was typed");
    return typed.startsWith("@") ? await readTokenFile(typed.slice(1)) : typed;
  }
  if (argument.startsWith("@")) return await readTokenFile(argument.slice(1));
  return demandToken(argument, "the argument");
}

/** One line, which is not shown, so that more can be typed behind it. Empty where nothing is typed. */
async function askForToken(): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const typed = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  process.stderr.write("Token, or @FILE (not shown): ");
  try {
    return await new Promise((resolve) => typed.on("line", resolve).on("close", () => resolve("")));
  } finally {
    typed.close();
    process.stderr.write("\n");
  }
}

/**
 * A file that stays where it is for one process after the other: others must not be able to read it. Windows has no such modes. Throws
 * `token.unreadable`, and `token.malformed` where it is empty.
 */
export async function readOwnFile(path: string): Promise<string> {
  const mode =
    process.getuid === undefined
      ? 0
      : await stat(path).then(
          (found) => found.mode,
          () => 0,
        );
  if ((mode & 0o077) === 0) return await readTokenFile(path);
  throw new CapstanError("token.unreadable", `Others may use the token file ${path}. Run: chmod 600 ${path}`);
}

async function readTokenFile(path: string): Promise<string> {
  let content: string;
  try {
    // A token is at most 16 kB: something larger is another file.
    if ((await stat(path)).size > 20_000)
      throw new CapstanError("token.malformed", `${path} is too large to be a token.`);
    content = await readFile(path, "utf8");
  } catch (cause) {
    if (cause instanceof CapstanError) throw cause;
    throw new CapstanError(
      "token.unreadable",
      `The token file ${JSON.stringify(path)} can't be read. Check the path.`,
      { cause },
    );
  }
  return demandToken(content, path);
}

function demandToken(content: string, where: string): string {
  const token = content.trim();
  if (token === "") {
    throw new CapstanError("token.malformed", `The token in ${where} is empty. \`capstan grant create\` prints one.`);
  }
  return token;
}

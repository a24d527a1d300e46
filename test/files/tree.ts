import { execFileSync } from "node:child_process";
import { mkdir, realpath, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { tempFolder } from "../support/temp.ts";

/** What stands at a path: a file's content, a link's target, or (null) a folder. */
export type Layout = Readonly<Record<string, string | Uint8Array | { readonly link: string } | null>>;

/** A folder to grant, beside things that are not granted. */
export interface Tree extends AsyncDisposable {
  /** The granted folder, by its real path. */
  readonly root: string;
  /** The folder beside it that nobody granted. */
  readonly outside: string;
  /** The absolute path of a place in the granted folder. */
  at(path: string): string;
}

/** Makes a tree on the real disk. `outside/secret.txt` holds "outside". `$OUT` in a link's target is the folder outside, `$IN` the root. */
export async function openTree(layout: Layout): Promise<Tree> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempFolder());
  const base = await realpath(folder.path);
  const [root, outside] = [join(base, "root"), join(base, "outside")];
  await mkdir(root);
  await mkdir(outside);
  await writeFile(join(outside, "secret.txt"), "outside");
  for (const [path, what] of Object.entries(layout)) {
    const place = join(root, path);
    await mkdir(dirname(place), { recursive: true });
    if (what === null) await mkdir(place, { recursive: true });
    else if (typeof what === "string" || what instanceof Uint8Array) await writeFile(place, what);
    else await symlink(what.link.replace("$OUT", outside).replace("$IN", root), place);
  }
  const owned = stack.move();
  return { root, outside, at: (path) => join(root, path), [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Makes a named pipe, which node:fs can't. */
export function makePipe(path: string): void {
  execFileSync("sh", ["-c", 'mkfifo "$1"', "sh", path]);
}

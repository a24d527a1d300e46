import { cp, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { tempFolder } from "./temp.ts";

/** What Python starts from, kept between runs of the tests: making it takes some seconds. Its folder's name tells versions apart. */
export const pythonCache = join(import.meta.dirname, "../../node_modules/.cache/capstan-python");

/** A new home with what Python starts from, where the tests have made that. */
export async function tempHomeWithPython(): ReturnType<typeof tempFolder> {
  const home = await tempFolder();
  const cache = join(home.path, "cache");
  await mkdir(cache, { mode: 0o700 });
  const made = await readdir(pythonCache).catch(() => []);
  for (const name of made.filter((entry) => /^python-[0-9a-f]{32}$/.test(entry))) {
    await cp(join(pythonCache, name), join(cache, name), { recursive: true });
  }
  return home;
}

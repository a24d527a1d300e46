import { chmod, mkdir, readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { CapstanError } from "../core/error.ts";

/**
 * Puts `text` where `before` stood: all or nothing, through a link if the path is one, with the permissions that the file had; a new
 * file is its owner's alone. `before` is what the change was made from, "" for a file that was not there: where something else stands
 * there by now, throws `files.changed` and leaves it.
 */
export async function replaceFile(path: string, before: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const target = await realpath(path).catch(() => path);
  const mode = await stat(target).then(
    (found) => found.mode & 0o777,
    () => 0o600,
  );
  const temporary = `${target}.${process.pid}.new`;
  try {
    await writeFile(temporary, text, { mode, flag: "wx" });
    // The mode of a new file is cut by the umask.
    await chmod(temporary, mode);
    if ((await readIfThere(target)) !== before) {
      throw new CapstanError(
        "files.changed",
        `${path} was changed by somebody else meanwhile, so it is left as it is. Run the command again.`,
      );
    }
    await rename(temporary, target);
  } catch (thrown) {
    await rm(temporary, { force: true });
    throw thrown;
  }
}

/** The text of a config file, "" where there is none. Throws `config.missing` for one that can't be read. */
export async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return "";
    throw new CapstanError("config.missing", `${path} can't be read. Check its permissions.`, { cause });
  }
}

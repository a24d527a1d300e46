import { CapstanError } from "../core/error.ts";
import { resolveRoot } from "../files/resolve-root.ts";

/**
 * The real paths of what an option or a setting names as folders; `source` is its name as the user wrote it. Throws `code`, saying
 * which one can't be granted and why. An empty text is no folder: it comes from a variable that is not set, and would else stand for
 * the working folder.
 */
export async function toRoots(
  paths: readonly string[],
  source: string,
  code: "usage.bad_option" | "config.bad_value" = "usage.bad_option",
): Promise<readonly string[]> {
  return await Promise.all(
    paths.map(async (path) => {
      if (path === "") throw new CapstanError(code, `${source} is empty. Name a folder; the working folder is ".".`);
      try {
        return await resolveRoot(path);
      } catch (thrown) {
        if (!(thrown instanceof CapstanError)) throw thrown;
        throw new CapstanError(code, `${source} can't be granted: ${thrown.message}`, { cause: thrown });
      }
    }),
  );
}
